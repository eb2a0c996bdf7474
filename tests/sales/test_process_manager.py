"""Every cell of the process manager's table: each state with each message, and each message in each of its variants."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Message, UnexpectedMessage
from purchase.contract import CreatePurchaseOrder, GoodsReceived, PeggedQuantity
from sales.contract import SalesOrderCreated, SalesOrderDelivered
from sales.process_manager import (
    AG,
    AS,
    DD,
    DL,
    NEW,
    Decision,
    Deliver,
    Facts,
    OrderCannotBeDelivered,
    Process,
    RetryReservation,
    State,
    decide,
    table_as_text,
)
from stock.contract import MakeReservation, ReservationAccepted, ReservationRejected, ShipReservation

ORDER, CHAIR, PURCHASE, NEXT_PURCHASE = (UUID(int=number) for number in range(1, 5))
LINES = (ProductQuantity(product_id=CHAIR, quantity=3),)
FACTS = Facts(new_purchase_order_id=NEXT_PURCHASE, lines=LINES, first_countdown=2.0, longest_countdown=10.0)
CAUGHT_UP = replace(FACTS, stock_has_caught_up=True)

CREATED = SalesOrderCreated(sales_order_id=ORDER, reference="S-1", lines=LINES)
ACCEPTED = ReservationAccepted(reservation_id=ORDER, revision=1, request=1)
ACCEPTED_OF_OLD = replace(ACCEPTED, revision=0)
REJECTED = ReservationRejected(reservation_id=ORDER, revision=1, request=1, missing=LINES)
REJECTED_OF_OLD = replace(REJECTED, request=0)
PART_RECEIVED = GoodsReceived(purchase_order_id=PURCHASE, receipt_id=UUID(int=9), lines=(), complete=False)
ALL_RECEIVED = replace(PART_RECEIVED, complete=True)
RETRY = RetryReservation(sales_order_id=ORDER, countdown=2.0)
DELIVER = Deliver(reference="S-1")

VARIANTS = {
    "created": (CREATED, FACTS),
    "accepted": (ACCEPTED, FACTS),
    "accepted, an older revision": (ACCEPTED_OF_OLD, FACTS),
    "rejected": (REJECTED, FACTS),
    "rejected, an older request": (REJECTED_OF_OLD, FACTS),
    "a part received": (PART_RECEIVED, FACTS),
    "all received": (ALL_RECEIVED, FACTS),
    "retry, Stock lags": (RETRY, FACTS),
    "retry, Stock has caught up": (RETRY, CAUGHT_UP),
    "deliver": (DELIVER, FACTS),
}

Outcome = tuple[tuple[State, ...], list[type[Message]]]  # the states entered, and the types of the messages

# Every pair that is not here is unexpected.
MANUAL: dict[tuple[State, str], Outcome] = {
    (NEW, "created"): ((AS,), [MakeReservation]),
    (AS, "accepted"): ((DL,), []),
    (AS, "rejected"): ((AG,), [CreatePurchaseOrder]),
    (AS, "retry, Stock lags"): ((), [RetryReservation]),
    (AS, "retry, Stock has caught up"): ((), [MakeReservation]),
    (AG, "accepted"): ((DL,), []),
    (AG, "a part received"): ((), []),
    (AG, "all received"): ((AS,), [RetryReservation]),
    (DL, "accepted"): ((), []),
    (DL, "accepted, an older revision"): ((), []),
    (DL, "a part received"): ((), []),
    (DL, "all received"): ((), []),
    (DL, "retry, Stock lags"): ((), []),
    (DL, "retry, Stock has caught up"): ((), []),
    (DL, "deliver"): ((DD,), [SalesOrderDelivered, ShipReservation]),
    (DD, "accepted"): ((), []),
    (DD, "accepted, an older revision"): ((), []),
    (DD, "a part received"): ((), []),
    (DD, "all received"): ((), []),
    (DD, "retry, Stock lags"): ((), []),
    (DD, "retry, Stock has caught up"): ((), []),
    (DD, "deliver"): ((), []),
}
AUTOMATIC: dict[tuple[State, str], Outcome] = {
    **MANUAL,
    (AS, "accepted"): ((DL, DD), [SalesOrderDelivered, ShipReservation]),
    (AG, "accepted"): ((DL, DD), [SalesOrderDelivered, ShipReservation]),
}
REFUSED = {(AS, "deliver"), (AG, "deliver")}


def process(state: State, *, automatic: bool = False) -> Process:
    """A process in this state, after one request; what awaits goods, or got them ahead of Purchase's word, has them on order."""
    return Process(
        sales_order_id=ORDER,
        automatic=automatic,
        priority=0,
        placed_at=datetime(2026, 1, 1, tzinfo=UTC),
        state=state,
        request=0 if state == NEW else 1,
        open_purchases=frozenset({PURCHASE}) if state in (AG, DL, DD) else frozenset(),
    )


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("state", State)
def test_every_cell_of_the_table(state: State, variant: str, automatic: bool) -> None:
    before = process(state, automatic=automatic)
    message, facts = VARIANTS[variant]
    cell = (AUTOMATIC if automatic else MANUAL).get((state, variant))
    if (state, variant) in REFUSED:
        with pytest.raises(OrderCannotBeDelivered, match="cannot be delivered yet: it waits for"):
            decide(before, message, facts)
    elif cell is None:
        with pytest.raises(UnexpectedMessage, match=f"{state}.*has no place for"):
            decide(before, message, facts)
    else:
        decision = decide(before, message, facts)
        assert (decision.entered, [type(each) for each in decision.messages]) == cell
        assert decision.process.state == (cell[0][-1] if cell[0] else state)


def _decide(state: State, variant: str) -> Decision:
    return decide(process(state), *VARIANTS[variant])


def test_every_question_to_stock_has_the_next_number() -> None:
    decision = _decide(AS, "retry, Stock has caught up")
    [question] = decision.messages
    assert isinstance(question, MakeReservation)
    assert (question.request, question.lines) == (2, LINES)
    assert decision.process.request == 2


def test_what_is_missing_is_bought_under_a_new_id_and_pegged() -> None:
    decision = _decide(AS, "rejected")
    pegged = PeggedQuantity(product_id=CHAIR, quantity=3, bought_for=ORDER)
    assert decision.messages == (CreatePurchaseOrder(purchase_order_id=NEXT_PURCHASE, requester_id=ORDER, lines=(pegged,)),)
    assert decision.process.open_purchases == {NEXT_PURCHASE}


def test_nothing_more_is_bought_while_an_own_purchase_order_is_open() -> None:
    with pytest.raises(UnexpectedMessage):
        decide(replace(process(AS), open_purchases=frozenset({PURCHASE})), REJECTED, FACTS)


@pytest.mark.parametrize("state", [AG, DL, DD])
def test_a_purchase_order_that_arrived_whole_is_marked_as_closed(state: State) -> None:
    assert _decide(state, "all received").process.open_purchases == frozenset()


def test_a_part_that_arrived_leaves_the_purchase_order_open() -> None:
    assert _decide(AG, "a part received").process.open_purchases == {PURCHASE}


def test_the_countdown_begins_with_the_setting_and_is_doubled_up_to_the_limit() -> None:
    [retry] = _decide(AG, "all received").messages
    countdowns = []
    for _ in range(5):
        assert isinstance(retry, RetryReservation)
        countdowns.append(retry.countdown)
        [retry] = decide(process(AS), retry, FACTS).messages
    assert countdowns == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_readme_shows_this_table() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = [line for line in readme.splitlines() if line.startswith(("| –", "| A", "| D"))]
    assert shown == ["| " + " | ".join(row) + " |" for row in table_as_text()]
