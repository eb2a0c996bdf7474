"""Decisions of users about sales orders: deliver, cancel, retry, change."""

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from django.db import transaction

from orderflow.core.database import upsert
from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity, validate_lines
from orderflow.core.reasons import validate_reason
from sales.models import OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import CLOSED_STATUSES, Cancel, Change, Deliver, RetryNow
from sales.services.work import Lines, Work


class RevisionConflict(ConflictError):
    """The revision that the request names is not the current revision."""

    code = "revision_conflict"

    def __init__(self, reference: str, revision: int, current: int) -> None:
        super().__init__(
            f"Revision {revision} of sales order {reference} is not current; the current revision "
            f"is {current}. Read the sales order again, then repeat the change. "
            "No changes were made."
        )


def deliver_orders(sales_order_ids: Collection[UUID], *, actor: str, reason: str = "") -> int:
    """Deliver all of these orders or none; return how many changed.

    An order that is already delivered is not changed.
    Locks: their `OrderStatus` rows, by sales order id.
    Raises: `SalesOrderCannotBeDelivered`, `SalesOrderNotFound`, `ReasonTooLong`.
    """
    return _decide(
        sales_order_ids,
        lambda order: Deliver(reference=order.reference),
        actor=actor,
        reason=reason,
    )


def cancel_orders(sales_order_ids: Collection[UUID], *, actor: str, reason: str = "") -> int:
    """Cancel all of these orders or none; return how many changed.

    An order that is already cancelled is not changed. Stock releases the reservations. Open linked
    purchase orders are withdrawn or kept (`ORDERFLOW_WITHDRAW_PURCHASE_ORDERS`).
    Locks: their `OrderStatus` rows, by sales order id.
    Raises: `SalesOrderCannotBeCancelled`, `SalesOrderNotFound`, `ReasonTooLong`.
    """
    return _decide(
        sales_order_ids,
        lambda order: Cancel(reference=order.reference),
        actor=actor,
        reason=reason,
    )


def retry_reservations(sales_order_ids: Collection[UUID], *, actor: str, reason: str = "") -> int:
    """Request the reservations of all of these orders again, or of none; return how many changed.

    The purchase count restarts at 0. A retry helps if an order needs attention, or if its
    reservation request or the reply was discarded.
    Locks: their `OrderStatus` rows, by sales order id.
    Raises: `NothingToRetry`, `SalesOrderNotFound`, `ReasonTooLong`.
    """
    return _decide(
        sales_order_ids,
        lambda order: RetryNow(reference=order.reference),
        actor=actor,
        reason=reason,
    )


@transaction.atomic
def change_order(
    sales_order_id: UUID,
    lines: Sequence[ProductQuantity],
    *,
    actor: str,
    reason: str = "",
    revision: int | None = None,
) -> bool:
    """Replace all lines of an order; return False if the order has these lines already.

    `revision`: if given, it must be the order's current revision, unless the lines are the same.
    Locks: its `OrderStatus` row.
    Raises: `SalesOrderCannotBeChanged`, `RevisionConflict`, `SalesOrderNotFound`,
    `LinesRequired`, `QuantityOutOfRange`, `ReasonTooLong`.
    """
    new_lines = validate_lines(lines)
    work = Work.load(OrderStatus.objects.filter(order=sales_order_id).locked())
    order_status = work.order_status(sales_order_id)
    order = order_status.order
    is_closed = order_status.status in CLOSED_STATUSES  # then the process manager raises an error
    if not is_closed and set(order.product_quantities()) == set(new_lines):
        return False
    if revision is not None and revision != order_status.revision:
        raise RevisionConflict(order.reference, revision, order_status.revision)
    request = Change(reference=order.reference, lines=new_lines)
    work.apply(sales_order_id, request, actor=actor, reason=validate_reason(reason))
    _replace_lines(order, new_lines)
    work.save()
    return True


@transaction.atomic
def _decide(
    sales_order_ids: Collection[UUID],
    request: Callable[[SalesOrder], object],
    *,
    actor: str,
    reason: str,
) -> int:
    work = Work.load(OrderStatus.objects.filter(order_id__in=sales_order_ids).locked())
    reason = validate_reason(reason)
    for sales_order_id in dict.fromkeys(sales_order_ids):
        order = work.order_status(sales_order_id).order
        work.apply(sales_order_id, request(order), actor=actor, reason=reason)
    return work.save()


def _replace_lines(order: SalesOrder, lines: Lines) -> None:
    rows = {row.product_id: row for row in order.lines.all()}
    quantities = {line.product_id: line.quantity for line in lines}
    removed = [row.pk for product_id, row in rows.items() if product_id not in quantities]
    SalesOrderLine.objects.filter(pk__in=removed).delete()
    kept = [row for product_id, row in rows.items() if product_id in quantities]
    for row in kept:
        row.quantity = quantities[row.product_id]
    upsert(kept, ["quantity"])
    SalesOrderLine.objects.bulk_create(
        SalesOrderLine(order=order, product_id=product_id, quantity=quantity)
        for product_id, quantity in quantities.items()
        if product_id not in rows
    )
