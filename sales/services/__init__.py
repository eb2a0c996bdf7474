"""What can be done with sales orders, each in one transaction.

People place, deliver, cancel and change them, or have it tried again; messages and the clock advance their processes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.database import once_more_if_taken, save_rows
from orderflow.messaging.messages import Message, Received, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.reasons import checked_reason
from orderflow.refusals import Conflict, Refused
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
)
from sales.contract import SalesOrderCreated
from sales.models import OrderPurchase, OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import Cancel, Change, Deliver, LimitPassed, RetryReservation, State, TryAgain
from sales.services.placing import NewOrder, OrderTaken, Placing
from sales.services.work import Lines, NoSuchOrder, Work
from stock.contract import ReservationAccepted, ReservationRejected

__all__ = [
    "NewOrder",
    "NoSuchOrder",
    "OrderTaken",
    "OrderWasChanged",
    "advance",
    "cancel_orders",
    "change_order",
    "deliver_orders",
    "mark_overdue",
    "place_each",
    "place_orders",
    "try_again",
]

MARKED_AT_ONCE = 500  # orders that are marked overdue in one transaction


class OrderWasChanged(Conflict):
    """The sales order was changed since you looked at the revision that you named."""

    code = "order_was_changed"

    def __init__(self, reference: str, revision: int) -> None:
        super().__init__(
            f"Sales order {reference} was changed meanwhile: it is at revision {revision}. Look at it, and change it again."
        )


@transaction.atomic
def place_orders(orders: Sequence[NewOrder], *, by: str = "") -> list[SalesOrder]:
    """Accept sales orders, all or none, and set their processes going.

    An order whose id exists with the same content is the same order: it is returned as it is. Raises `OrderTaken` for an id or
    a reference that belongs to another one, `NoLines`, `QuantityOutOfRange`.
    """
    placed = []
    for outcome in place_each(orders, by=by):
        if isinstance(outcome, Refused):
            raise outcome
        placed.append(outcome)
    return placed


@once_more_if_taken
def place_each(orders: Sequence[NewOrder], *, by: str = "") -> list[SalesOrder | Refused]:
    """Accept each of these sales orders or refuse it, in this order, for the reasons for which `place_orders` raises."""
    placing = Placing(orders)
    outcomes = [placing.outcome(order) for order in orders]
    placing.insert()
    created = [
        SalesOrderCreated(sales_order_id=row.id, reference=row.reference, lines=placing.lines[row.id])
        for row in placing.placed.values()
    ]
    message_ids = publish([Outgoing(message=event) for event in created])
    work = Work([OrderStatus(order=row, state=State.NEW) for row in placing.placed.values()], lines=placing.lines)
    for message_id, event in zip(message_ids, created, strict=True):
        work.apply(event.sales_order_id, event, message_id=message_id, by=by)
    work.save()
    return outcomes


def deliver_orders(sales_order_ids: Collection[UUID], *, by: str, reason: str = "") -> int:
    """Deliver orders that are deliverable, all or none; delivering one again changes nothing. Returns how many it changed.

    Locks their `OrderStatus` rows. Raises `OrderCannotBeDelivered`, `NoSuchOrder`, `ReasonTooLong`.
    """
    return _decide(sales_order_ids, lambda order: Deliver(reference=order.reference), by=by, reason=reason)


def cancel_orders(sales_order_ids: Collection[UUID], *, by: str, reason: str = "") -> int:
    """Cancel orders that are not delivered, all or none; cancelling one again changes nothing. Returns how many it changed.

    What they hold goes to those who wait. What is on order for them is cancelled if nothing of it has arrived, or kept
    (`ORDERFLOW_CANCEL_PURCHASES`). Locks their `OrderStatus` rows. Raises `OrderCannotBeCancelled`, `NoSuchOrder`,
    `ReasonTooLong`.
    """
    return _decide(sales_order_ids, lambda order: Cancel(reference=order.reference), by=by, reason=reason)


def try_again(sales_order_ids: Collection[UUID], *, by: str, reason: str = "") -> int:
    """Have Stock asked, and what is missing bought, once more for orders that await Stock's answer, all or none.

    It is what orders need that need attention, and those whose question or answer a person discarded. Locks their
    `OrderStatus` rows. Raises `NothingToTryAgain`, `NoSuchOrder`, `ReasonTooLong`.
    """
    return _decide(sales_order_ids, lambda order: TryAgain(reference=order.reference), by=by, reason=reason)


@transaction.atomic
def change_order(
    sales_order_id: UUID, lines: Sequence[ProductQuantity], *, by: str, reason: str = "", revision: int | None = None
) -> bool:
    """From now on these lines are wanted, and no others. The same as before changes nothing; returns whether it did.

    With `revision` only if that is still the order's. Locks the `OrderStatus` row. Raises `OrderCannotBeChanged`,
    `OrderWasChanged`, `NoSuchOrder`, `NoLines`, `QuantityOutOfRange`, `ReasonTooLong`.
    """
    wanted = checked_lines(lines)
    work = Work.on(OrderStatus.objects.filter(order=sales_order_id).locked())
    status = work.status(sales_order_id)
    order = status.order
    has_ended = status.state in (State.DELIVERED, State.CANCELLED)  # then it is refused, below
    if not has_ended and set(order.ordered()) == set(wanted):
        return False
    if revision is not None and revision != status.revision:
        raise OrderWasChanged(order.reference, status.revision)
    work.apply(sales_order_id, Change(reference=order.reference, lines=wanted), by=by, reason=checked_reason(reason))
    _replace_lines(order, wanted)
    work.save()
    return True


@transaction.atomic
def mark_overdue() -> int:
    """Tell some of the processes that are in their state for longer than its limit (settings); returns how many it were.

    Locks their `OrderStatus` rows.
    """
    late = Q(pk=None)
    for state, limit in settings.ORDERFLOW_LIMITS.items():
        if limit:
            late |= Q(state=State(state), since__lte=timezone.now() - limit)
    work = Work.on(OrderStatus.objects.filter(late, overdue=False).locked()[:MARKED_AT_ONCE])
    for sales_order_id in work.statuses:
        work.apply(sales_order_id, LimitPassed())
    work.save()
    return len(work.statuses)


def advance(batch: Sequence[Received]) -> None:
    """Sales as a consumer: fold a batch of messages into the processes they are about, inside the drain's transaction.

    Locks their `OrderStatus` rows in one pass, by id. Raises `UnexpectedMessage`.
    """
    owners = _owners_of_purchases(batch)
    about = [(received, _sales_order_id(received.message, owners)) for received in batch]
    work = Work.on(OrderStatus.objects.filter(order_id__in={order_id for _, order_id in about if order_id}).locked())
    work.prepare_retries(batch)
    for received, sales_order_id in about:
        if sales_order_id:  # a purchase order that no sales order waits for is none of Sales' business
            work.apply(sales_order_id, received.message, message_id=received.id)
    work.save()


@transaction.atomic
def _decide(sales_order_ids: Collection[UUID], wish: Callable[[SalesOrder], object], *, by: str, reason: str = "") -> int:
    """A person wants the same of several orders."""
    work = Work.on(OrderStatus.objects.filter(order_id__in=sales_order_ids).locked())
    reason = checked_reason(reason)
    for sales_order_id in dict.fromkeys(sales_order_ids):
        work.apply(sales_order_id, wish(work.status(sales_order_id).order), by=by, reason=reason)
    return work.save()


# -- changing -------------------------------------------------------------------------------------------------------------


def _replace_lines(order: SalesOrder, wanted: Lines) -> None:
    rows = {row.product_id: row for row in order.lines.all()}
    quantities = {line.product_id: line.quantity for line in wanted}
    SalesOrderLine.objects.filter(pk__in=[row.pk for product_id, row in rows.items() if product_id not in quantities]).delete()
    kept = [row for product_id, row in rows.items() if product_id in quantities]
    for row in kept:
        row.quantity = quantities[row.product_id]
    save_rows(kept, ["quantity"])
    SalesOrderLine.objects.bulk_create(
        SalesOrderLine(order=order, product_id=product_id, quantity=quantity)
        for product_id, quantity in quantities.items()
        if product_id not in rows
    )


# -- messages -------------------------------------------------------------------------------------------------------------

AboutPurchase = GoodsReceived | PurchaseOrderCancelled | PurchaseOrderClosedShort | PurchaseOrderExpected | PurchaseOrderOverdue


def _owners_of_purchases(batch: Sequence[Received]) -> dict[UUID, UUID]:
    """The sales orders that these purchase orders were made for."""
    told_of = {received.message.purchase_order_id for received in batch if isinstance(received.message, AboutPurchase)}
    if not told_of:
        return {}
    return dict(OrderPurchase.objects.filter(pk__in=told_of).values_list("purchase_order_id", "status_id"))


def _sales_order_id(message: Message, owners: Mapping[UUID, UUID]) -> UUID | None:
    """The sales order that a message is about; None where it is about a purchase order that no sales order waits for."""
    match message:
        case ReservationAccepted() | ReservationRejected():
            return message.reservation_id
        case RetryReservation():
            return message.sales_order_id
    if isinstance(message, AboutPurchase):
        return owners.get(message.purchase_order_id)
    raise UnexpectedMessage(f"Sales does not handle {type(message).__name__}.")
