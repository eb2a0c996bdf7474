"""What a row of the table does. The first line of each docstring is its words in the table."""

from dataclasses import replace
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Message
from purchase.contract import (
    CancelPurchaseOrder,
    CreatePurchaseOrder,
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
)
from sales.contract import (
    SalesOrderCancelled,
    SalesOrderChanged,
    SalesOrderCreated,
    SalesOrderDelivered,
    SalesOrderNeedsAttention,
    SalesOrderOverdue,
)
from sales.process_manager.process import (
    Cancel,
    CancelPurchases,
    Change,
    Decision,
    Deliver,
    Facts,
    LimitPassed,
    NothingToTryAgain,
    OrderCannotBeCancelled,
    OrderCannotBeChanged,
    OrderCannotBeDelivered,
    OwnPurchase,
    Process,
    RetryReservation,
    TryAgain,
)
from stock.contract import MakeReservation, ReleaseReservation, ReservationRejected, ShipReservation

Closing = GoodsReceived | PurchaseOrderCancelled | PurchaseOrderClosedShort


def still_to_buy(process: Process, rejected: ReservationRejected) -> tuple[ProductQuantity, ...]:
    """What is missing and not on order."""
    on_order = process.on_order()
    lacking = [(line.product_id, line.quantity - on_order[line.product_id]) for line in rejected.missing]
    return tuple(ProductQuantity(product_id=product_id, quantity=quantity) for product_id, quantity in lacking if quantity > 0)


# -- asking Stock -----------------------------------------------------------------------------------------------------------


def request_reservation(process: Process, created: SalesOrderCreated, facts: Facts) -> Decision:
    """MakeReservation(request 1)"""
    first = replace(process, request=1)
    return Decision(process=first, messages=(_question(first, facts),))


def ask_the_question(process: Process, retry: RetryReservation, facts: Facts) -> Decision:
    """MakeReservation"""
    return Decision(process=process, messages=(_question(process, facts),))


def ask_again_later(process: Process, retry: RetryReservation, facts: Facts) -> Decision:
    """RetryReservation, countdown doubled up to a limit"""
    countdown = min(max(2 * retry.countdown, facts.first_countdown), facts.longest_countdown)
    return Decision(process=process, messages=(replace(retry, countdown=countdown),))


def retry_after_the_countdown(process: Process, closing: Closing, facts: Facts) -> Decision:
    """marked; RetryReservation(request + 1) after the countdown"""
    return _retry(_without(process, closing.purchase_order_id), countdown=facts.first_countdown)


# -- buying -----------------------------------------------------------------------------------------------------------------


def buy_what_is_missing(process: Process, rejected: ReservationRejected, facts: Facts) -> Decision:
    """new random purchase order id; CreatePurchaseOrder(what is missing and not on order, pegged)"""
    lines = still_to_buy(process, rejected)
    order = CreatePurchaseOrder(
        purchase_order_id=facts.new_purchase_order_id,
        requester_id=process.sales_order_id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity, bought_for=process.sales_order_id)
            for line in lines
        ),
    )
    bought = OwnPurchase(purchase_order_id=order.purchase_order_id, lines=lines)
    purchases = (*process.open_purchases, bought)
    return Decision(process=replace(process, open_purchases=purchases, times_bought=process.times_bought + 1), messages=(order,))


def wait_for_what_is_on_order(process: Process, rejected: ReservationRejected, facts: Facts) -> Decision:
    """nothing: it is on order"""
    return Decision(process=process)


def call_for_attention(process: Process, rejected: ReservationRejected, facts: Facts) -> Decision:
    """needs attention: SalesOrderNeedsAttention, once"""
    call = SalesOrderNeedsAttention(sales_order_id=process.sales_order_id, missing=still_to_buy(process, rejected))
    return Decision(process=replace(process, needs_attention=True), messages=() if process.needs_attention else (call,))


def leave_it_to_stock(process: Process, received: GoodsReceived, facts: Facts) -> Decision:
    """nothing: Stock serves it"""
    return Decision(process=process)


def mark_closed(process: Process, closing: Closing, facts: Facts) -> Decision:
    """ignored: the goods serve who waits; marked"""
    return Decision(process=_without(process, closing.purchase_order_id))


# -- ends -------------------------------------------------------------------------------------------------------------------


def make_deliverable(process: Process, message: object, facts: Facts) -> Decision:
    """a person may deliver it; purchase orders that are not needed may be cancelled (setting)"""
    return Decision(process=process, messages=_cancel_purchases(process, facts, if_set_to=CancelPurchases.UNNEEDED))


def deliver_at_once(process: Process, message: object, facts: Facts) -> Decision:
    """SalesOrderDelivered, ShipReservation; purchase orders that are not needed may be cancelled (setting)"""
    cancellations = _cancel_purchases(process, facts, if_set_to=CancelPurchases.UNNEEDED)
    return Decision(process=process, messages=(*_delivery(process), *cancellations))


def deliver(process: Process, asked: Deliver, facts: Facts) -> Decision:
    """SalesOrderDelivered, ShipReservation"""
    return Decision(process=process, messages=_delivery(process))


def cancel(process: Process, asked: Cancel, facts: Facts) -> Decision:
    """SalesOrderCancelled, ReleaseReservation; CancelPurchaseOrder for each own open purchase order (setting)"""
    cancelled = SalesOrderCancelled(sales_order_id=process.sales_order_id)
    release = ReleaseReservation(reservation_id=process.sales_order_id)
    cancellations = _cancel_purchases(process, facts, if_set_to=CancelPurchases.CANCELLED)
    return Decision(process=process, messages=(cancelled, release, *cancellations))


def release_again(process: Process, message: object, facts: Facts) -> Decision:
    """ReleaseReservation: a belt, the release is already behind it"""
    return Decision(process=process, messages=(ReleaseReservation(reservation_id=process.sales_order_id),))


# -- what people decide -----------------------------------------------------------------------------------------------------


def change(process: Process, asked: Change, facts: Facts) -> Decision:
    """revision + 1; SalesOrderChanged; RetryReservation(request + 1), due now"""
    changed = replace(process, revision=process.revision + 1, times_bought=0)
    news = SalesOrderChanged(sales_order_id=changed.sales_order_id, revision=changed.revision, lines=asked.lines)
    retry = _retry(changed, countdown=0.0)
    return replace(retry, messages=(news, *retry.messages))


def try_again(process: Process, asked: TryAgain, facts: Facts) -> Decision:
    """purchases are counted anew; RetryReservation(request + 1), due now"""
    return _retry(replace(process, times_bought=0), countdown=0.0)


def mark_overdue(process: Process, passed: LimitPassed, facts: Facts) -> Decision:
    """marked overdue; SalesOrderOverdue"""
    return _overdue(process)


def mark_late(process: Process, message: PurchaseOrderOverdue, facts: Facts) -> Decision:
    """the goods are late: marked overdue; SalesOrderOverdue, unless it was said"""
    late = _with_late(process, message.purchase_order_id, late=True)
    return Decision(process=late) if late.overdue else _overdue(late)


def expect_later(process: Process, message: PurchaseOrderExpected, facts: Facts) -> Decision:
    """not overdue any more, unless other goods are"""
    expected = _with_late(process, message.purchase_order_id, late=False)
    return Decision(process=replace(expected, overdue=expected.awaits_late_goods()))


# -- nothing ----------------------------------------------------------------------------------------------------------------


def ignore_answered_since(process: Process, message: object, facts: Facts) -> Decision:
    """ignored: answered since"""
    return Decision(process=process)


def ignore_older_answer(process: Process, message: object, facts: Facts) -> Decision:
    """ignored: the newer question is answered"""
    return Decision(process=process)


def ignore_already_accepted(process: Process, message: object, facts: Facts) -> Decision:
    """ignored: already accepted"""
    return Decision(process=process)


def ignore_not_awaited(process: Process, message: object, facts: Facts) -> Decision:
    """ignored: the goods serve who waits"""
    return Decision(process=process)


def answer_as_before(process: Process, message: object, facts: Facts) -> Decision:
    """the same answer as before, nothing published"""
    return Decision(process=process)


def refuse_delivery(process: Process, asked: Deliver, facts: Facts) -> Decision:
    """refused: 409 with the reason"""
    raise OrderCannotBeDelivered(asked.reference, process.state)


def refuse_cancellation(process: Process, asked: Cancel, facts: Facts) -> Decision:
    """refused: 409 with the reason"""
    raise OrderCannotBeCancelled(asked.reference)


def refuse_change(process: Process, asked: Change, facts: Facts) -> Decision:
    """refused: 409 with the reason"""
    raise OrderCannotBeChanged(asked.reference, process.state)


def refuse_to_try_again(process: Process, asked: TryAgain, facts: Facts) -> Decision:
    """refused: 409 with the reason"""
    raise NothingToTryAgain(asked.reference, process.state)


# -- parts of decisions -----------------------------------------------------------------------------------------------------


def _question(process: Process, facts: Facts) -> MakeReservation:
    return MakeReservation(
        reservation_id=process.sales_order_id,
        revision=process.revision,
        request=process.request,
        lines=facts.lines,
        priority=process.priority,
        placed_at=process.placed_at,
        hold_parts=facts.hold_parts,
    )


def _retry(process: Process, *, countdown: float) -> Decision:
    """The question gets its number when it is decided to ask it: from then on the answer to an older one says nothing."""
    asking = replace(process, request=process.request + 1)
    timer = RetryReservation(sales_order_id=asking.sales_order_id, request=asking.request, countdown=countdown)
    return Decision(process=asking, messages=(timer,))


def _delivery(process: Process) -> tuple[Message, ...]:
    return (
        SalesOrderDelivered(sales_order_id=process.sales_order_id),
        ShipReservation(reservation_id=process.sales_order_id),
    )


def _cancel_purchases(process: Process, facts: Facts, *, if_set_to: CancelPurchases) -> tuple[Message, ...]:
    if facts.cancel_purchases not in (if_set_to, CancelPurchases.UNNEEDED):
        return ()
    return tuple(
        CancelPurchaseOrder(purchase_order_id=own.purchase_order_id, requester_id=process.sales_order_id)
        for own in process.open_purchases
    )


def _overdue(process: Process) -> Decision:
    overdue = SalesOrderOverdue(sales_order_id=process.sales_order_id, state=process.state)
    return Decision(process=replace(process, overdue=True), messages=(overdue,))


def _with_late(process: Process, purchase_order_id: UUID, *, late: bool) -> Process:
    changed = tuple(
        replace(own, late=late) if own.purchase_order_id == purchase_order_id else own for own in process.open_purchases
    )
    return replace(process, open_purchases=changed)


def _without(process: Process, purchase_order_id: UUID) -> Process:
    left = tuple(own for own in process.open_purchases if own.purchase_order_id != purchase_order_id)
    return replace(process, open_purchases=left)
