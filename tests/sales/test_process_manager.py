"""Every cell of the process manager's table: each state with each message, and each message in each of its variants."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.refusals import Conflict
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
from sales.process_manager import (
    AG,
    AS,
    CX,
    DD,
    DL,
    NEW,
    TABLE,
    Cancel,
    CancelPurchases,
    Change,
    Decision,
    Deliver,
    Facts,
    LimitPassed,
    OwnPurchase,
    Process,
    RetryReservation,
    State,
    TryAgain,
    decide,
)
from stock.contract import MakeReservation, ReleaseReservation, ReservationAccepted, ReservationRejected, ShipReservation

ORDER, CHAIR, DESK, PURCHASE, NEXT_PURCHASE, OLD_PURCHASE = (UUID(int=number) for number in range(1, 7))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def chairs(quantity: int) -> tuple[ProductQuantity, ...]:
    return (ProductQuantity(product_id=CHAIR, quantity=quantity),)


LINES = chairs(3)
FACTS = Facts(new_purchase_order_id=NEXT_PURCHASE, lines=LINES, first_countdown=2.0, longest_countdown=10.0)
CAUGHT_UP = replace(FACTS, stock_has_caught_up=True)
UNNEEDED = replace(FACTS, cancel_purchases=CancelPurchases.UNNEEDED)
KEEP = replace(FACTS, cancel_purchases=CancelPurchases.NEVER)

ACCEPTED = ReservationAccepted(reservation_id=ORDER, revision=2, request=5)
REJECTED = ReservationRejected(reservation_id=ORDER, revision=2, request=5, missing=LINES)
RECEIVED = GoodsReceived(purchase_order_id=PURCHASE, receipt_id=UUID(int=9), lines=(), complete=True)
RETRY = RetryReservation(sales_order_id=ORDER, request=5, countdown=2.0)
LATE = PurchaseOrderOverdue(purchase_order_id=PURCHASE, expected_at=NOW)
LATER = PurchaseOrderExpected(purchase_order_id=PURCHASE, expected_at=NOW)

VARIANTS = {
    "created": (SalesOrderCreated(sales_order_id=ORDER, reference="S-1", lines=LINES), FACTS),
    "accepted": (ACCEPTED, FACTS),
    "accepted, an older revision": (replace(ACCEPTED, revision=1), FACTS),
    "rejected": (REJECTED, FACTS),
    "rejected, an older request": (replace(REJECTED, request=4), FACTS),
    "rejected, an older revision": (replace(REJECTED, revision=1, request=4), FACTS),
    "retry, Stock lags": (RETRY, FACTS),
    "retry, Stock has caught up": (RETRY, CAUGHT_UP),
    "retry, overtaken": (replace(RETRY, request=4), CAUGHT_UP),
    "a part received": (replace(RECEIVED, complete=False), FACTS),
    "all received": (RECEIVED, FACTS),
    "its purchase order cancelled": (PurchaseOrderCancelled(purchase_order_id=PURCHASE), FACTS),
    "its purchase order closed short": (PurchaseOrderClosedShort(purchase_order_id=PURCHASE), FACTS),
    "a closed one closed again": (PurchaseOrderClosedShort(purchase_order_id=OLD_PURCHASE), FACTS),
    "a closed one received again": (replace(RECEIVED, purchase_order_id=OLD_PURCHASE), FACTS),
    "its purchase order is late": (LATE, FACTS),
    "a closed one is late": (replace(LATE, purchase_order_id=OLD_PURCHASE), FACTS),
    "its purchase order is expected later": (LATER, FACTS),
    "a closed one is expected later": (replace(LATER, purchase_order_id=OLD_PURCHASE), FACTS),
    "deliver": (Deliver(reference="S-1"), FACTS),
    "cancel": (Cancel(reference="S-1"), FACTS),
    "change": (Change(reference="S-1", lines=chairs(4)), FACTS),
    "try again": (TryAgain(reference="S-1"), FACTS),
    "its limit passed": (LimitPassed(), FACTS),
}

Outcome = tuple[tuple[State, ...], list[type[Message]]]  # the states entered, and the types of the messages
STAYS: Outcome = ((), [])
RETRIED: Outcome = ((AS,), [RetryReservation])
MARKED: Outcome = ((), [SalesOrderOverdue])
CANCELLED: Outcome = ((CX,), [SalesOrderCancelled, ReleaseReservation, CancelPurchaseOrder])
CHANGED: Outcome = ((AS,), [SalesOrderChanged, RetryReservation])
NEVER_AWAITED = dict.fromkeys(
    [
        "retry, Stock lags",
        "retry, Stock has caught up",
        "retry, overtaken",
        "a part received",
        "all received",
        "its purchase order cancelled",
        "its purchase order closed short",
        "a closed one closed again",
        "a closed one received again",
        "its purchase order is late",
        "a closed one is late",
        "its purchase order is expected later",
        "a closed one is expected later",
    ],
    STAYS,
)

ACCEPTED_BEFORE = dict.fromkeys(
    [
        "accepted",
        "accepted, an older revision",
        "rejected",
        "rejected, an older request",
        "rejected, an older revision",
    ],
    STAYS,
)

# Every pair that is not here is unexpected.
MANUAL: dict[State, dict[str, Outcome]] = {
    NEW: {"created": ((AS,), [MakeReservation])},
    AS: {
        "accepted": ((DL,), []),
        "accepted, an older revision": STAYS,
        "rejected": ((AG,), []),  # all that is missing is on order; the other cases have tests of their own
        "rejected, an older request": STAYS,
        "rejected, an older revision": STAYS,
        "retry, Stock lags": ((), [RetryReservation]),
        "retry, Stock has caught up": ((), [MakeReservation]),
        "retry, overtaken": STAYS,
        "a part received": STAYS,
        "all received": ((), [RetryReservation]),
        "its purchase order cancelled": ((), [RetryReservation]),
        "its purchase order closed short": ((), [RetryReservation]),
        "a closed one closed again": STAYS,
        "a closed one received again": STAYS,
        "its purchase order is late": MARKED,
        "a closed one is late": STAYS,
        "its purchase order is expected later": STAYS,
        "a closed one is expected later": STAYS,
        "cancel": CANCELLED,
        "change": CHANGED,
        "try again": RETRIED,
        "its limit passed": MARKED,
    },
    AG: {
        "accepted": ((DL,), []),
        "accepted, an older revision": STAYS,
        "rejected, an older request": STAYS,
        "rejected, an older revision": STAYS,
        "retry, Stock lags": STAYS,
        "retry, Stock has caught up": STAYS,
        "retry, overtaken": STAYS,
        "a part received": STAYS,
        "all received": RETRIED,
        "its purchase order cancelled": RETRIED,
        "its purchase order closed short": RETRIED,
        "a closed one closed again": STAYS,
        "a closed one received again": STAYS,
        "its purchase order is late": MARKED,
        "a closed one is late": STAYS,
        "its purchase order is expected later": STAYS,
        "a closed one is expected later": STAYS,
        "cancel": CANCELLED,
        "change": CHANGED,
        "its limit passed": MARKED,
    },
    DL: {
        **NEVER_AWAITED,
        **ACCEPTED_BEFORE,
        "deliver": ((DD,), [SalesOrderDelivered, ShipReservation]),
        "cancel": CANCELLED,
        "change": CHANGED,
        "its limit passed": MARKED,
    },
    DD: {
        **NEVER_AWAITED,
        **ACCEPTED_BEFORE,
        "deliver": STAYS,
    },
    CX: {
        **NEVER_AWAITED,
        "accepted": ((), [ReleaseReservation]),
        "accepted, an older revision": ((), [ReleaseReservation]),
        "rejected": STAYS,
        "rejected, an older request": STAYS,
        "rejected, an older revision": STAYS,
        "cancel": STAYS,
    },
}
AT_ONCE: Outcome = ((DL, DD), [SalesOrderDelivered, ShipReservation])
AUTOMATIC = {**MANUAL, AS: {**MANUAL[AS], "accepted": AT_ONCE}, AG: {**MANUAL[AG], "accepted": AT_ONCE}}
REFUSED = {
    (AS, "deliver"): "cannot be delivered yet: it waits for Stock's answer",
    (AG, "deliver"): "cannot be delivered yet: it waits for goods",
    (CX, "deliver"): "cannot be delivered any more: it was cancelled",
    (DD, "cancel"): "cannot be cancelled any more: it was delivered",
    (DD, "change"): "cannot be changed any more: it was delivered",
    (CX, "change"): "cannot be changed any more: it was cancelled",
    (AG, "try again"): "nothing to try again for sales order S-1: what it lacks is on order",
    (DL, "try again"): "nothing to try again for sales order S-1: it is deliverable",
    (DD, "try again"): "nothing to try again for sales order S-1: it is delivered",
    (CX, "try again"): "nothing to try again for sales order S-1: it is cancelled",
}


def process(state: State, *, automatic: bool = False, on_order: int = 3) -> Process:
    """A process in this state, after a change and a few requests, with chairs on order."""
    own = OwnPurchase(purchase_order_id=PURCHASE, lines=chairs(on_order))
    return Process(
        sales_order_id=ORDER,
        automatic=automatic,
        priority=0,
        placed_at=NOW,
        state=state,
        revision=2,
        request=5,
        times_bought=1,
        open_purchases=(own,) if on_order else (),
    )


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("state", State)
def test_every_cell_of_the_table(state: State, variant: str, automatic: bool) -> None:
    before = process(state, automatic=automatic)
    message, facts = VARIANTS[variant]
    cell = (AUTOMATIC if automatic else MANUAL)[state].get(variant)
    if (state, variant) in REFUSED:
        with pytest.raises(Conflict, match=REFUSED[state, variant]):
            decide(before, message, facts)
    elif cell is None:
        with pytest.raises(UnexpectedMessage, match=f"{state}.*has no place for"):
            decide(before, message, facts)
    else:
        decision = decide(before, message, facts)
        assert (decision.entered, [type(each) for each in decision.messages]) == cell
        assert decision.process.state == (cell[0][-1] if cell[0] else state)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("state", State)
def test_no_two_rows_apply_at_once(state: State, variant: str) -> None:
    for on_order, times_bought, marked in product((0, 2, 3), (0, 4), (False, True)):
        needy = marked and state == AS
        before = replace(process(state, on_order=on_order), times_bought=times_bought, overdue=marked, needs_attention=needy)
        assert len([row for row in TABLE if row.applies(before, *VARIANTS[variant])]) <= 1


def _decide(state: State, variant: str) -> Decision:
    return decide(process(state), *VARIANTS[variant])


# -- questions to Stock -----------------------------------------------------------------------------------------------------


def test_the_first_question_has_the_number_1() -> None:
    [question] = decide(replace(process(NEW), request=0), *VARIANTS["created"]).messages
    assert isinstance(question, MakeReservation)
    assert (question.request, question.lines) == (1, LINES)


def test_a_question_gets_its_number_when_it_is_decided_to_ask_it() -> None:
    decision = _decide(AG, "all received")
    [retry] = decision.messages
    assert isinstance(retry, RetryReservation)
    assert retry.request == decision.process.request == 6
    [question] = decide(decision.process, retry, CAUGHT_UP).messages
    assert isinstance(question, MakeReservation)
    assert (question.revision, question.request, question.lines) == (2, 6, LINES)


def test_while_a_retry_is_pending_no_answer_buys_anything() -> None:
    pending = _decide(AG, "all received").process
    assert decide(pending, REJECTED, FACTS).messages == ()


def test_the_countdown_begins_with_the_setting_and_is_doubled_up_to_the_limit() -> None:
    decision = _decide(AG, "all received")
    countdowns = []
    for _ in range(5):
        [retry] = decision.messages
        assert isinstance(retry, RetryReservation)
        countdowns.append(retry.countdown)
        decision = decide(decision.process, retry, FACTS)
    assert countdowns == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_retry_that_is_due_at_once_and_comes_too_early_waits_as_long_as_any_other() -> None:
    _, retry = _decide(AG, "change").messages
    assert isinstance(retry, RetryReservation)
    assert retry.countdown == 0
    [later] = decide(_decide(AG, "change").process, retry, FACTS).messages
    assert isinstance(later, RetryReservation)
    assert later.countdown == 2.0


# -- buying -----------------------------------------------------------------------------------------------------------------


def bought(decision: Decision) -> list[tuple[UUID, int]]:
    orders = [each for each in decision.messages if isinstance(each, CreatePurchaseOrder)]
    return [(line.product_id, line.quantity) for order in orders for line in order.lines]


def test_what_is_missing_is_bought_under_a_new_id_and_pegged() -> None:
    decision = decide(process(AS, on_order=0), REJECTED, FACTS)
    pegged = PeggedQuantity(product_id=CHAIR, quantity=3, bought_for=ORDER)
    assert decision.messages == (CreatePurchaseOrder(purchase_order_id=NEXT_PURCHASE, requester_id=ORDER, lines=(pegged,)),)
    assert decision.process.open_purchases == (OwnPurchase(purchase_order_id=NEXT_PURCHASE, lines=LINES),)
    assert decision.entered == (AG,)


def test_what_is_on_order_is_not_bought_again() -> None:
    assert bought(decide(process(AS, on_order=2), REJECTED, FACTS)) == [(CHAIR, 1)]
    assert bought(decide(process(AS, on_order=3), REJECTED, FACTS)) == []
    assert bought(decide(process(AS, on_order=9), REJECTED, FACTS)) == []


def test_what_is_on_order_of_another_product_does_not_count() -> None:
    missing = (*LINES, ProductQuantity(product_id=DESK, quantity=1))
    assert bought(decide(process(AS), replace(REJECTED, missing=missing), FACTS)) == [(DESK, 1)]


def test_after_the_first_purchase_and_three_in_vain_the_order_needs_attention_and_says_so_once() -> None:
    waiting = process(AS, on_order=0)
    assert decide(replace(waiting, times_bought=3), REJECTED, FACTS).process.times_bought == 4
    decision = decide(replace(waiting, times_bought=4), REJECTED, FACTS)
    assert decision.messages == (SalesOrderNeedsAttention(sales_order_id=ORDER, missing=LINES),)
    assert (decision.process.state, decision.process.needs_attention) == (AS, True)
    assert decide(decision.process, REJECTED, FACTS).messages == ()


def test_what_is_on_order_is_awaited_however_often_it_was_bought() -> None:
    decision = decide(replace(process(AS), times_bought=4), REJECTED, FACTS)
    assert (decision.process.state, decision.process.needs_attention) == (AG, False)


@pytest.mark.parametrize("variant", ["try again", "change"])
def test_a_person_who_decides_has_the_purchases_counted_anew(variant: str) -> None:
    needy = replace(process(AS, on_order=0), times_bought=4, needs_attention=True)
    decision = decide(needy, *VARIANTS[variant])
    assert (decision.process.times_bought, decision.process.needs_attention) == (0, False)
    retry = decision.messages[-1]
    assert isinstance(retry, RetryReservation)
    assert (retry.request, retry.countdown) == (6, 0)


# -- purchase orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["all received", "its purchase order cancelled", "its purchase order closed short"])
@pytest.mark.parametrize("state", [AS, AG, DL, DD, CX])
def test_a_purchase_order_of_which_nothing_more_will_come_is_marked_as_closed(state: State, variant: str) -> None:
    assert _decide(state, variant).process.open_purchases == ()


@pytest.mark.parametrize("state", [AS, AG, DL, DD, CX])
def test_a_part_that_arrived_leaves_the_purchase_order_open(state: State) -> None:
    assert _decide(state, "a part received").process == process(state)


def test_one_of_two_that_closes_has_stock_asked_and_the_other_stays_open() -> None:
    other = OwnPurchase(purchase_order_id=OLD_PURCHASE, lines=LINES)
    before = process(AG)
    decision = decide(replace(before, open_purchases=(other, *before.open_purchases)), RECEIVED, FACTS)
    assert decision.entered == (AS,)
    assert decision.process.open_purchases == (other,)


@pytest.mark.parametrize(("facts", "cancelled"), [(FACTS, True), (UNNEEDED, True), (KEEP, False)])
def test_a_cancelled_order_cancels_its_purchase_orders_or_keeps_them_as_it_is_set(facts: Facts, cancelled: bool) -> None:
    messages = decide(process(AG), Cancel(reference="S-1"), facts).messages
    cancellation = CancelPurchaseOrder(purchase_order_id=PURCHASE, requester_id=ORDER)
    assert (cancellation in messages) == cancelled


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize(("facts", "cancelled"), [(FACTS, False), (UNNEEDED, True), (KEEP, False)])
def test_an_order_that_other_goods_served_cancels_its_purchase_orders_only_if_set_so(
    facts: Facts, cancelled: bool, automatic: bool
) -> None:
    messages = decide(process(AG, automatic=automatic), ACCEPTED, facts).messages
    cancellation = CancelPurchaseOrder(purchase_order_id=PURCHASE, requester_id=ORDER)
    assert (cancellation in messages) == cancelled


# -- the clock --------------------------------------------------------------------------------------------------------------


def test_it_is_marked_overdue_once_while_it_stays() -> None:
    marked = _decide(AG, "its limit passed").process
    assert marked.overdue
    assert decide(marked, LATE, FACTS).messages == ()
    assert not decide(marked, ACCEPTED, FACTS).process.overdue


def test_who_awaits_goods_that_are_late_is_overdue_wherever_it_goes_until_they_are_expected_later() -> None:
    late = _decide(AG, "its purchase order is late").process
    changed = decide(late, *VARIANTS["change"]).process
    awaiting = decide(changed, replace(REJECTED, revision=3, request=6), FACTS).process
    assert (changed.overdue, awaiting.state, awaiting.overdue) == (True, AG, True)
    assert not decide(awaiting, LATER, FACTS).process.overdue
    [event] = decide(decide(awaiting, LATER, FACTS).process, LATE, FACTS).messages
    assert isinstance(event, SalesOrderOverdue)  # the second date is missed, too


def test_one_of_two_that_is_expected_later_does_not_help_if_the_other_is_late() -> None:
    other = OwnPurchase(purchase_order_id=OLD_PURCHASE, lines=LINES, late=True)
    before = process(AG)
    both_late = replace(before, overdue=True, open_purchases=(other, *before.open_purchases))
    assert decide(both_late, LATER, FACTS).process.overdue
