"""Sales as a consumer of messages."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from orderflow.messaging.messages import Message, ReceivedMessage, UnexpectedMessage
from sales.models import LinkedPurchaseOrder, OrderStatus
from sales.process_manager import PurchaseOrderEvent, RetryReservation
from sales.services.work import Work
from stock.contract import ReservationAccepted, ReservationRejected


def handle_messages(batch: Sequence[ReceivedMessage]) -> None:
    """Apply a batch of messages to the processes, inside the drain's transaction.

    Events of purchase orders that are linked to no sales order are ignored.
    Locks: the `OrderStatus` rows, by sales order id. Raises: `UnexpectedMessage`.
    """
    linked_sales_orders = _linked_sales_orders(batch)
    targets = [
        (received, _sales_order_id(received.message, linked_sales_orders)) for received in batch
    ]
    sales_order_ids = {sales_order_id for _, sales_order_id in targets if sales_order_id}
    work = Work.load(OrderStatus.objects.filter(order_id__in=sales_order_ids).locked())
    work.prepare_retries(batch)
    for received, sales_order_id in targets:
        if sales_order_id:
            work.apply(sales_order_id, received.message, message_id=received.id)
    work.save()


def _linked_sales_orders(batch: Sequence[ReceivedMessage]) -> dict[UUID, UUID]:
    """Return sales order ids by purchase order id, for the linked ones that the batch names."""
    purchase_order_ids = {
        received.message.purchase_order_id
        for received in batch
        if isinstance(received.message, PurchaseOrderEvent)
    }
    if not purchase_order_ids:
        return {}
    rows = LinkedPurchaseOrder.objects.filter(pk__in=purchase_order_ids)
    return dict(rows.values_list("purchase_order_id", "order_status_id"))


def _sales_order_id(message: Message, linked_sales_orders: Mapping[UUID, UUID]) -> UUID | None:
    """Return the sales order that the message is about; None if the message is ignored."""
    if isinstance(message, ReservationAccepted | ReservationRejected):
        return message.reservation_id
    if isinstance(message, RetryReservation):
        return message.sales_order_id
    if isinstance(message, PurchaseOrderEvent):
        return linked_sales_orders.get(message.purchase_order_id)
    raise UnexpectedMessage(f"Sales does not handle {type(message).__name__}.")
