"""When a row of the table applies. The first line of each docstring is its words in the table."""

from orderflow.messaging.messages import Message
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
)
from sales.process_manager.actions import still_to_buy
from sales.process_manager.process import Facts, Process, RetryReservation
from stock.contract import ReservationAccepted, ReservationRejected

OwnMessage = GoodsReceived | PurchaseOrderCancelled | PurchaseOrderClosedShort | PurchaseOrderExpected | PurchaseOrderOverdue


def closes(message: Message) -> bool:
    """Will nothing more come of the purchase order, as far as it is known?"""
    return isinstance(message, PurchaseOrderCancelled | PurchaseOrderClosedShort) or (
        isinstance(message, GoodsReceived) and message.complete
    )


def manual_delivery(process: Process, message: object, facts: Facts) -> bool:
    """manual delivery"""
    return not process.automatic


def automatic_delivery(process: Process, message: object, facts: Facts) -> bool:
    """automatic delivery"""
    return process.automatic


def current_revision(process: Process, answer: ReservationAccepted, facts: Facts) -> bool:
    """current revision"""
    return answer.revision == process.revision


def older_revision(process: Process, answer: ReservationAccepted, facts: Facts) -> bool:
    """older revision"""
    return answer.revision < process.revision


def latest_request(process: Process, answer: ReservationRejected, facts: Facts) -> bool:
    """latest request"""
    return (answer.revision, answer.request) == (process.revision, process.request)


def older_request(process: Process, answer: ReservationRejected, facts: Facts) -> bool:
    """older request"""
    return answer.request < process.request


def all_is_on_order(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    """all that is missing is on order"""
    return not still_to_buy(process, rejected)


def something_is_to_be_bought(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    """not all of it on order"""
    return not bought_in_vain(process, rejected, facts) and bool(still_to_buy(process, rejected))


def bought_in_vain(process: Process, rejected: ReservationRejected, facts: Facts) -> bool:
    """bought in vain too often"""
    return process.times_bought > facts.repurchases and bool(still_to_buy(process, rejected))


def overtaken(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    """overtaken by a newer one"""
    return retry.request < process.request


def stock_lags(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    """Stock lags"""
    return not overtaken(process, retry, facts) and not facts.stock_has_caught_up


def stock_has_caught_up(process: Process, retry: RetryReservation, facts: Facts) -> bool:
    """Stock has caught up"""
    return not overtaken(process, retry, facts) and facts.stock_has_caught_up


def own_more_to_come(process: Process, message: OwnMessage, facts: Facts) -> bool:
    """own purchase order, more to come"""
    return process.has_open(message.purchase_order_id) and not closes(message)


def own_closed(process: Process, message: OwnMessage, facts: Facts) -> bool:
    """own purchase order closed"""
    return process.has_open(message.purchase_order_id) and closes(message)


def own_was_closed_before(process: Process, message: OwnMessage, facts: Facts) -> bool:
    """own purchase order that was closed before"""
    return not process.has_open(message.purchase_order_id)


def own_is_open(process: Process, message: OwnMessage, facts: Facts) -> bool:
    """own purchase order"""
    return process.has_open(message.purchase_order_id)


def not_marked_yet(process: Process, message: object, facts: Facts) -> bool:
    """not marked yet"""
    return not process.overdue
