"""The guards of the transitions: pure predicates on process, message and facts.

The name of a guard is its text in the documentation.
"""

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Message
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
)
from sales.process_manager.process import Facts, Process, RetryReservation, WithdrawPolicy
from stock.contract import ReservationAccepted, ReservationRejected

PurchaseOrderEvent = (
    GoodsReceived
    | PurchaseOrderCancelled
    | PurchaseOrderClosedShort
    | PurchaseOrderRescheduled
    | PurchaseOrderOverdue
)


def uncovered_shortages(
    process: Process, rejected: ReservationRejected
) -> tuple[ProductQuantity, ...]:
    """Return the shortages minus what the open linked purchase orders cover."""
    on_order = process.on_order()
    uncovered = [
        (line.product_id, line.quantity - on_order[line.product_id]) for line in rejected.shortages
    ]
    return tuple(
        ProductQuantity(product_id=product_id, quantity=quantity)
        for product_id, quantity in uncovered
        if quantity > 0
    )


def closes(message: Message) -> bool:
    """Return whether the message closes its purchase order."""
    return isinstance(message, PurchaseOrderCancelled | PurchaseOrderClosedShort) or (
        isinstance(message, GoodsReceived) and message.final
    )


# -- settings of the order and of the installation -----------------------------------------------


def manual_delivery(process: Process, message: object, facts: Facts) -> bool:
    return not process.automatic


def automatic_delivery(process: Process, message: object, facts: Facts) -> bool:
    return process.automatic


def withdraw_on_cancel(process: Process, message: object, facts: Facts) -> bool:
    return facts.withdraw_policy != WithdrawPolicy.NEVER


def keep_on_cancel(process: Process, message: object, facts: Facts) -> bool:
    return not withdraw_on_cancel(process, message, facts)


def withdraw_unneeded(process: Process, message: object, facts: Facts) -> bool:
    return facts.withdraw_policy == WithdrawPolicy.WHEN_UNNEEDED


def keep_unneeded(process: Process, message: object, facts: Facts) -> bool:
    return not withdraw_unneeded(process, message, facts)


# -- replies of Stock ----------------------------------------------------------------------------


def current_revision(process: Process, reply: ReservationAccepted, facts: Facts) -> bool:
    return reply.revision == process.revision


def older_revision(process: Process, reply: ReservationAccepted, facts: Facts) -> bool:
    return reply.revision < process.revision


def latest_request(process: Process, reply: ReservationRejected, facts: Facts) -> bool:
    return (reply.revision, reply.request_number) == (process.revision, process.request_number)


def older_request(process: Process, reply: ReservationRejected, facts: Facts) -> bool:
    return reply.request_number < process.request_number


def fully_on_order(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    return not uncovered_shortages(process, rejected)


def purchase_needed(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    """An uncovered shortage, and the purchase limit is not reached."""
    return bool(uncovered_shortages(process, rejected)) and not _limit_reached(process, facts)


def purchase_limit_reached(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    """An uncovered shortage, and the purchase limit is reached."""
    return bool(uncovered_shortages(process, rejected)) and _limit_reached(process, facts)


def not_flagged(process: Process, message: object, facts: Facts) -> bool:
    return not process.needs_attention


def already_flagged(process: Process, message: object, facts: Facts) -> bool:
    return process.needs_attention


# -- retries -------------------------------------------------------------------------------------


def is_stale(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return retry.request_number < process.request_number


def is_latest(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return not is_stale(process, retry, facts)


def stock_lags(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return not facts.stock_has_caught_up


def stock_has_caught_up(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return facts.stock_has_caught_up


# -- events of linked purchase orders ------------------------------------------------------------


def linked_order_is_open(process: Process, message: PurchaseOrderEvent, facts: Facts) -> bool:
    return process.has_open(message.purchase_order_id)


def linked_order_stays_open(process: Process, message: PurchaseOrderEvent, facts: Facts) -> bool:
    return process.has_open(message.purchase_order_id) and not closes(message)


def linked_order_closes(process: Process, message: PurchaseOrderEvent, facts: Facts) -> bool:
    return process.has_open(message.purchase_order_id) and closes(message)


def linked_order_already_closed(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return not process.has_open(message.purchase_order_id)


def another_order_overdue(process: Process, message: PurchaseOrderEvent, facts: Facts) -> bool:
    return any(
        order.overdue and order.purchase_order_id != message.purchase_order_id
        for order in process.open_purchase_orders
    )


def no_other_order_overdue(process: Process, message: PurchaseOrderEvent, facts: Facts) -> bool:
    return not another_order_overdue(process, message, facts)


# -- overdue flag --------------------------------------------------------------------------------


def not_overdue(process: Process, message: object, facts: Facts) -> bool:
    return not process.overdue


def already_overdue(process: Process, message: object, facts: Facts) -> bool:
    return process.overdue


def _limit_reached(process: Process, facts: Facts) -> bool:
    return process.purchase_count > facts.max_repurchases
