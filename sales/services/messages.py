"""Sales as a consumer of messages."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from orderflow.messaging.messages import Message, ReceivedMessage, UnexpectedMessage
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
)
from sales.models import LinkedPurchaseOrder, OrderStatus
from sales.process_manager import RetryReservation
from sales.services.work import Work
from stock.contract import ReservationAccepted, ReservationRejected

PurchaseOrderEvent = (
    GoodsReceived
    | PurchaseOrderCancelled
    | PurchaseOrderClosedShort
    | PurchaseOrderRescheduled
    | PurchaseOrderOverdue
)


def handle_messages(batch: Sequence[ReceivedMessage]) -> None:
    """Apply a batch of messages to the processes, inside the drain's transaction.

    Events of purchase orders that no sales order is linked to are ignored.
    Locks: the `OrderStatus` rows in one pass, by sales order id. Raises: `UnexpectedMessage`.
    """
    linked_sales_orders = _linked_sales_orders(batch)
    targets = [(each, _sales_order_id(each.message, linked_sales_orders)) for each in batch]
    sales_order_ids = {sales_order_id for _, sales_order_id in targets if sales_order_id}
    work = Work.on(OrderStatus.objects.filter(order_id__in=sales_order_ids).locked())
    work.prepare_retries(batch)
    for received, sales_order_id in targets:
        if sales_order_id:
            work.apply(sales_order_id, received.message, message_id=received.id)
    work.save()


def _linked_sales_orders(batch: Sequence[ReceivedMessage]) -> dict[UUID, UUID]:
    """Return the sales order id for each linked purchase order that the batch names."""
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
    match message:
        case ReservationAccepted() | ReservationRejected():
            return message.reservation_id
        case RetryReservation():
            return message.sales_order_id
    if isinstance(message, PurchaseOrderEvent):
        return linked_sales_orders.get(message.purchase_order_id)
    raise UnexpectedMessage(f"Sales does not handle {type(message).__name__}.")
