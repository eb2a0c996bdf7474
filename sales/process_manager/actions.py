"""The actions of the transitions: pure functions that return the new process and the messages.

The documentation shows the first line of an action's docstring.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from orderflow.core.errors import ConflictError
from orderflow.messaging.messages import Message
from purchase.contract import (
    CreatePurchaseOrder,
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
    WithdrawPurchaseOrder,
)
from sales.contract import (
    SalesOrderCancelled,
    SalesOrderChanged,
    SalesOrderCreated,
    SalesOrderDelivered,
    SalesOrderNeedsAttention,
    SalesOrderOverdue,
)
from sales.process_manager.guards import uncovered_shortages
from sales.process_manager.process import (
    Change,
    Facts,
    OpenPurchaseOrder,
    Process,
    RetryReservation,
    Status,
)
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationRejected,
    ShipReservation,
)


class Effect(NamedTuple):
    """The process after an action, and the messages to publish."""

    process: Process
    messages: tuple[Message, ...] = ()


Action = Callable[[Process, Any, Facts], Effect]
ClosingEvent = GoodsReceived | PurchaseOrderCancelled | PurchaseOrderClosedShort


def reject(error: Callable[[str, Status], ConflictError]) -> Action:
    """Return an action that raises `error` with the order's reference and status."""

    def reject_request(process: Process, request: Any, facts: Facts) -> Effect:
        raise error(request.reference, process.status)

    reject_request.__doc__ = "rejected with status 409"
    return reject_request


def ignore(reason: str) -> Action:
    """Return an action that has no effect; `reason` says why the message is ignored."""
    return _nothing(f"ignored: {reason}")


def no_message(reason: str) -> Action:
    """Return an action without messages; `reason` says why entering the status is enough."""
    return _nothing(f"none: {reason}")


# -- reservation requests ------------------------------------------------------------------------


def send_first_reservation_request(
    process: Process, created: SalesOrderCreated, facts: Facts
) -> Effect:
    """MakeReservation (request number 1)"""
    requested = replace(process, request_number=1)
    return Effect(requested, (_reservation_request(requested, facts),))


def send_reservation_request(process: Process, retry: RetryReservation, facts: Facts) -> Effect:
    """MakeReservation"""
    return Effect(process, (_reservation_request(process, facts),))


def schedule_retry(process: Process, message: object, facts: Facts) -> Effect:
    """RetryReservation (request number + 1) after the countdown"""
    return _retry(process, countdown=facts.retry_countdown)


def retry_now(process: Process, message: object, facts: Facts) -> Effect:
    """RetryReservation (request number + 1), due now"""
    return _retry(process, countdown=0.0)


def postpone_retry(process: Process, retry: RetryReservation, facts: Facts) -> Effect:
    """RetryReservation again, countdown doubled up to the maximum"""
    doubled = max(2 * retry.countdown, facts.retry_countdown)
    return Effect(process, (replace(retry, countdown=min(doubled, facts.retry_countdown_max)),))


# -- purchases -----------------------------------------------------------------------------------


def purchase_uncovered_shortages(
    process: Process, rejected: ReservationRejected, facts: Facts
) -> Effect:
    """CreatePurchaseOrder (new random id; uncovered shortages, pegged); purchase count + 1"""
    lines = uncovered_shortages(process, rejected)
    command = CreatePurchaseOrder(
        purchase_order_id=facts.new_purchase_order_id,
        requester_id=process.sales_order_id,
        lines=tuple(
            PeggedQuantity(
                product_id=line.product_id,
                quantity=line.quantity,
                pegged_to=process.sales_order_id,
            )
            for line in lines
        ),
    )
    purchased = OpenPurchaseOrder(purchase_order_id=command.purchase_order_id, lines=lines)
    after = replace(
        process,
        open_purchase_orders=(*process.open_purchase_orders, purchased),
        purchase_count=process.purchase_count + 1,
    )
    return Effect(after, (command,))


def mark_as_needing_attention(
    process: Process, rejected: ReservationRejected, facts: Facts
) -> Effect:
    """marked as needing attention; SalesOrderNeedsAttention"""
    event = SalesOrderNeedsAttention(
        sales_order_id=process.sales_order_id, shortages=uncovered_shortages(process, rejected)
    )
    return Effect(replace(process, needs_attention=True), (event,))


def reset_purchase_count(process: Process, message: object, facts: Facts) -> Effect:
    """purchase count set to 0"""
    return Effect(replace(process, purchase_count=0))


def mark_linked_purchase_order_as_closed(
    process: Process, closing: ClosingEvent, facts: Facts
) -> Effect:
    """linked purchase order marked as closed"""
    remaining = tuple(
        order
        for order in process.open_purchase_orders
        if order.purchase_order_id != closing.purchase_order_id
    )
    return Effect(replace(process, open_purchase_orders=remaining))


def withdraw_purchase_orders(process: Process, message: object, facts: Facts) -> Effect:
    """WithdrawPurchaseOrder for each open linked purchase order"""
    commands = tuple(
        WithdrawPurchaseOrder(
            purchase_order_id=order.purchase_order_id, requester_id=process.sales_order_id
        )
        for order in process.open_purchase_orders
    )
    return Effect(process, commands)


# -- delivery, cancellation, change --------------------------------------------------------------


def deliver(process: Process, message: object, facts: Facts) -> Effect:
    """SalesOrderDelivered; ShipReservation"""
    delivered = SalesOrderDelivered(sales_order_id=process.sales_order_id)
    return Effect(process, (delivered, ShipReservation(reservation_id=process.sales_order_id)))


def cancel(process: Process, message: object, facts: Facts) -> Effect:
    """SalesOrderCancelled; ReleaseReservation"""
    cancelled = SalesOrderCancelled(sales_order_id=process.sales_order_id)
    return Effect(process, (cancelled, ReleaseReservation(reservation_id=process.sales_order_id)))


def release_again(process: Process, message: object, facts: Facts) -> Effect:
    """ReleaseReservation again, as a safeguard: Stock ignores a second one"""
    return Effect(process, (ReleaseReservation(reservation_id=process.sales_order_id),))


def change(process: Process, request: Change, facts: Facts) -> Effect:
    """revision + 1; SalesOrderChanged"""
    changed = replace(process, revision=process.revision + 1)
    event = SalesOrderChanged(
        sales_order_id=changed.sales_order_id, revision=changed.revision, lines=request.lines
    )
    return Effect(changed, (event,))


# -- overdue flag --------------------------------------------------------------------------------


def mark_sales_order_as_overdue(process: Process, message: object, facts: Facts) -> Effect:
    """sales order marked as overdue; SalesOrderOverdue"""
    event = SalesOrderOverdue(sales_order_id=process.sales_order_id, status=process.status)
    return Effect(replace(process, overdue=True), (event,))


def mark_linked_purchase_order_as_overdue(
    process: Process, message: PurchaseOrderOverdue, facts: Facts
) -> Effect:
    """linked purchase order marked as overdue"""
    return Effect(_with_overdue(process, message.purchase_order_id, overdue=True))


def mark_linked_purchase_order_as_not_overdue(
    process: Process, message: PurchaseOrderRescheduled, facts: Facts
) -> Effect:
    """linked purchase order marked as not overdue"""
    return Effect(_with_overdue(process, message.purchase_order_id, overdue=False))


def mark_sales_order_as_not_overdue(process: Process, message: object, facts: Facts) -> Effect:
    """sales order marked as not overdue"""
    return Effect(replace(process, overdue=False))


# -- helpers -------------------------------------------------------------------------------------


def _nothing(text: str) -> Action:
    def do_nothing(process: Process, message: object, facts: Facts) -> Effect:
        return Effect(process)

    do_nothing.__doc__ = text
    return do_nothing


def _reservation_request(process: Process, facts: Facts) -> MakeReservation:
    return MakeReservation(
        reservation_id=process.sales_order_id,
        revision=process.revision,
        request_number=process.request_number,
        lines=facts.lines,
        priority=process.priority,
        placed_at=process.placed_at,
        allow_partial=facts.allow_partial,
    )


def _retry(process: Process, *, countdown: float) -> Effect:
    """Schedule a request. It gets its number now, so that replies to older ones become stale."""
    after = replace(process, request_number=process.request_number + 1)
    retry = RetryReservation(
        sales_order_id=after.sales_order_id,
        request_number=after.request_number,
        countdown=countdown,
    )
    return Effect(after, (retry,))


def _with_overdue(process: Process, purchase_order_id: UUID, *, overdue: bool) -> Process:
    orders = tuple(
        replace(order, overdue=overdue) if order.purchase_order_id == purchase_order_id else order
        for order in process.open_purchase_orders
    )
    return replace(process, open_purchase_orders=orders)
