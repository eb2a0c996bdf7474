"""The guards of the transitions: pure predicates on process, message and facts.

The documentation shows the name of a guard, with spaces.
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
    """Return the part of each shortage that is not on order for the sales order."""
    on_order = process.on_order()
    uncovered = [
        (line.product_id, line.quantity - on_order[line.product_id]) for line in rejected.shortages
    ]
    return tuple(
        ProductQuantity(product_id=product_id, quantity=quantity)
        for product_id, quantity in uncovered
        if quantity > 0
    )


def closes_purchase_order(message: Message) -> bool:
    """Return whether the message reports that its purchase order is closed."""
    return isinstance(message, PurchaseOrderCancelled | PurchaseOrderClosedShort) or (
        isinstance(message, GoodsReceived) and message.final
    )


# -- settings of the order and of the installation -----------------------------------------------


def delivery_is_manual(process: Process, message: object, facts: Facts) -> bool:
    return not process.automatic


def delivery_is_automatic(process: Process, message: object, facts: Facts) -> bool:
    return process.automatic


def purchase_orders_are_withdrawn_on_cancel(
    process: Process, message: object, facts: Facts
) -> bool:
    return facts.withdraw_policy != WithdrawPolicy.NEVER


def purchase_orders_are_kept_on_cancel(process: Process, message: object, facts: Facts) -> bool:
    return not purchase_orders_are_withdrawn_on_cancel(process, message, facts)


def unneeded_purchase_orders_are_withdrawn(
    process: Process, message: object, facts: Facts
) -> bool:
    return facts.withdraw_policy == WithdrawPolicy.WHEN_UNNEEDED


def unneeded_purchase_orders_are_kept(process: Process, message: object, facts: Facts) -> bool:
    return not unneeded_purchase_orders_are_withdrawn(process, message, facts)


# -- replies of Stock ----------------------------------------------------------------------------


def revision_is_current(process: Process, reply: ReservationAccepted, facts: Facts) -> bool:
    return reply.revision == process.revision


def revision_is_stale(process: Process, reply: ReservationAccepted, facts: Facts) -> bool:
    return reply.revision < process.revision


def request_is_current(process: Process, reply: ReservationRejected, facts: Facts) -> bool:
    return (reply.revision, reply.request_number) == (process.revision, process.request_number)


def request_is_stale(process: Process, reply: ReservationRejected, facts: Facts) -> bool:
    return reply.request_number < process.request_number


def every_shortage_is_covered(
    process: Process, rejected: ReservationRejected, facts: Facts
) -> bool:
    return not uncovered_shortages(process, rejected)


def a_shortage_is_uncovered(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    return bool(uncovered_shortages(process, rejected))


def purchase_limit_is_not_reached(process: Process, message: object, facts: Facts) -> bool:
    return process.purchase_count <= facts.max_repurchases


def purchase_limit_is_reached(process: Process, message: object, facts: Facts) -> bool:
    return not purchase_limit_is_not_reached(process, message, facts)


def sales_order_does_not_need_attention(process: Process, message: object, facts: Facts) -> bool:
    return not process.needs_attention


def sales_order_already_needs_attention(process: Process, message: object, facts: Facts) -> bool:
    return process.needs_attention


# -- retries -------------------------------------------------------------------------------------


def retry_is_stale(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return retry.request_number < process.request_number


def retry_is_current(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return not retry_is_stale(process, retry, facts)


def stock_is_lagging(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return not facts.stock_has_caught_up


def stock_has_caught_up(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    return facts.stock_has_caught_up


# -- events of linked purchase orders ------------------------------------------------------------


def linked_purchase_order_is_open(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return process.has_open(message.purchase_order_id)


def linked_purchase_order_stays_open(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return process.has_open(message.purchase_order_id) and not closes_purchase_order(message)


def linked_purchase_order_closes(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return process.has_open(message.purchase_order_id) and closes_purchase_order(message)


def linked_purchase_order_is_already_closed(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return not process.has_open(message.purchase_order_id)


def another_linked_purchase_order_is_overdue(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return any(
        order.overdue and order.purchase_order_id != message.purchase_order_id
        for order in process.open_purchase_orders
    )


def no_other_linked_purchase_order_is_overdue(
    process: Process, message: PurchaseOrderEvent, facts: Facts
) -> bool:
    return not another_linked_purchase_order_is_overdue(process, message, facts)


# -- overdue flag --------------------------------------------------------------------------------


def sales_order_is_not_overdue(process: Process, message: object, facts: Facts) -> bool:
    return not process.overdue


def sales_order_is_already_overdue(process: Process, message: object, facts: Facts) -> bool:
    return process.overdue
