"""Every cell of the process manager's table: each status with each variant of each message."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import product
from uuid import UUID

import pytest

from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Message, UnexpectedMessage
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
from sales.process_manager import (
    STORED_STATUSES,
    TRANSITIONS,
    Cancel,
    Change,
    Decision,
    Deliver,
    Facts,
    OpenPurchaseOrder,
    Process,
    RetryNow,
    RetryReservation,
    Status,
    StatusLimitExceeded,
    WithdrawPolicy,
    decide,
)
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ReservationRejected,
    ShipReservation,
)

(
    NEW,
    AWAITING_STOCK_RESERVATION,
    AWAITING_GOODS_RECEIVED,
    DELIVERABLE,
    DELIVERED,
    CANCELLED,
) = Status

SALES_ORDER, CHAIR, DESK = UUID(int=1), UUID(int=2), UUID(int=3)
# Purchase orders: a second open one is older than the first.
OPEN_ORDER, SECOND_ORDER, CLOSED_ORDER, NEW_ORDER = (UUID(int=number) for number in range(4, 8))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def chairs(quantity: int) -> tuple[ProductQuantity, ...]:
    return (ProductQuantity(product_id=CHAIR, quantity=quantity),)


def process(status: Status, *, automatic: bool = False, on_order: int = 3) -> Process:
    """Return a process at revision 2 and request number 5, with chairs on order."""
    linked = OpenPurchaseOrder(purchase_order_id=OPEN_ORDER, lines=chairs(on_order))
    return Process(
        sales_order_id=SALES_ORDER,
        automatic=automatic,
        priority=0,
        placed_at=NOW,
        status=status,
        revision=2,
        request_number=5,
        purchase_count=1,
        open_purchase_orders=(linked,) if on_order else (),
    )


def with_second_order(before: Process, *, overdue: bool = False) -> Process:
    """Return the process with a second, older open purchase order."""
    second = OpenPurchaseOrder(purchase_order_id=SECOND_ORDER, lines=chairs(3), overdue=overdue)
    return replace(before, open_purchase_orders=(second, *before.open_purchase_orders))


LINES = chairs(3)
FACTS = Facts(
    new_purchase_order_id=NEW_ORDER, lines=LINES, retry_countdown=2.0, retry_countdown_max=10.0
)
CAUGHT_UP = replace(FACTS, stock_has_caught_up=True)

ACCEPTED = ReservationAccepted(reservation_id=SALES_ORDER, revision=2, request_number=5)
REJECTED = ReservationRejected(
    reservation_id=SALES_ORDER, revision=2, request_number=5, shortages=LINES
)
RETRY = RetryReservation(sales_order_id=SALES_ORDER, request_number=5, countdown=2.0)
RECEIVED = GoodsReceived(
    purchase_order_id=OPEN_ORDER, receipt_id=UUID(int=9), lines=(), final=True
)
OVERDUE = PurchaseOrderOverdue(purchase_order_id=OPEN_ORDER, expected_at=NOW)
RESCHEDULED = PurchaseOrderRescheduled(purchase_order_id=OPEN_ORDER, expected_at=NOW)
WITHDRAW = WithdrawPurchaseOrder(purchase_order_id=OPEN_ORDER, requester_id=SALES_ORDER)

VARIANTS = {
    "created": (
        SalesOrderCreated(sales_order_id=SALES_ORDER, reference="S-1", lines=LINES),
        FACTS,
    ),
    "accepted": (ACCEPTED, FACTS),
    "accepted, older revision": (replace(ACCEPTED, revision=1), FACTS),
    "rejected": (REJECTED, FACTS),
    "rejected, older request": (replace(REJECTED, request_number=4), FACTS),
    "rejected, older revision": (replace(REJECTED, revision=1, request_number=4), FACTS),
    "retry, Stock lags": (RETRY, FACTS),
    "retry, Stock has caught up": (RETRY, CAUGHT_UP),
    "retry, stale": (replace(RETRY, request_number=4), CAUGHT_UP),
    "partial receipt": (replace(RECEIVED, final=False), FACTS),
    "final receipt": (RECEIVED, FACTS),
    "purchase order cancelled": (PurchaseOrderCancelled(purchase_order_id=OPEN_ORDER), FACTS),
    "purchase order closed short": (
        PurchaseOrderClosedShort(purchase_order_id=OPEN_ORDER),
        FACTS,
    ),
    "closed order closed short": (PurchaseOrderClosedShort(purchase_order_id=CLOSED_ORDER), FACTS),
    "closed order received": (replace(RECEIVED, purchase_order_id=CLOSED_ORDER), FACTS),
    "purchase order overdue": (OVERDUE, FACTS),
    "closed order overdue": (replace(OVERDUE, purchase_order_id=CLOSED_ORDER), FACTS),
    "purchase order rescheduled": (RESCHEDULED, FACTS),
    "closed order rescheduled": (replace(RESCHEDULED, purchase_order_id=CLOSED_ORDER), FACTS),
    "deliver": (Deliver(reference="S-1"), FACTS),
    "cancel": (Cancel(reference="S-1"), FACTS),
    "change": (Change(reference="S-1", lines=chairs(4)), FACTS),
    "retry by a user": (RetryNow(reference="S-1"), FACTS),
    "status limit exceeded": (StatusLimitExceeded(), FACTS),
}
REPLIES = [
    "accepted",
    "accepted, older revision",
    "rejected",
    "rejected, older request",
    "rejected, older revision",
]
RETRIES = ["retry, Stock lags", "retry, Stock has caught up", "retry, stale"]
PURCHASE_ORDER_EVENTS = [
    "partial receipt",
    "final receipt",
    "purchase order cancelled",
    "purchase order closed short",
    "closed order closed short",
    "closed order received",
    "purchase order overdue",
    "closed order overdue",
    "purchase order rescheduled",
    "closed order rescheduled",
]
CLOSING_EVENTS = ["final receipt", "purchase order cancelled", "purchase order closed short"]

Outcome = tuple[tuple[Status, ...], list[type[Message]]]  # statuses entered, messages published
UNCHANGED: Outcome = ((), [])
RETRY_SCHEDULED: Outcome = ((AWAITING_STOCK_RESERVATION,), [RetryReservation])
FLAGGED_OVERDUE: Outcome = ((), [SalesOrderOverdue])
ORDER_CANCELLED: Outcome = (
    (CANCELLED,),
    [SalesOrderCancelled, ReleaseReservation, WithdrawPurchaseOrder],
)
ORDER_CHANGED: Outcome = ((AWAITING_STOCK_RESERVATION,), [SalesOrderChanged, RetryReservation])
IGNORED_REPLIES = dict.fromkeys(REPLIES, UNCHANGED)
IGNORED_RETRIES = dict.fromkeys(RETRIES, UNCHANGED)
IGNORED_PURCHASE_ORDER_EVENTS = dict.fromkeys(PURCHASE_ORDER_EVENTS, UNCHANGED)

# A pair of status and variant that is missing here is unexpected, or rejected (below).
MANUAL: dict[Status, dict[str, Outcome]] = {
    NEW: {"created": ((AWAITING_STOCK_RESERVATION,), [MakeReservation])},
    AWAITING_STOCK_RESERVATION: {
        **IGNORED_REPLIES,
        "accepted": ((DELIVERABLE,), []),
        "rejected": ((AWAITING_GOODS_RECEIVED,), []),  # fully on order; other cases: see below
        **IGNORED_RETRIES,
        "retry, Stock lags": ((), [RetryReservation]),
        "retry, Stock has caught up": ((), [MakeReservation]),
        **IGNORED_PURCHASE_ORDER_EVENTS,
        **dict.fromkeys(CLOSING_EVENTS, ((), [RetryReservation])),
        "purchase order overdue": FLAGGED_OVERDUE,
        "cancel": ORDER_CANCELLED,
        "change": ORDER_CHANGED,
        "retry by a user": RETRY_SCHEDULED,
        "status limit exceeded": FLAGGED_OVERDUE,
    },
    AWAITING_GOODS_RECEIVED: {
        "accepted": ((DELIVERABLE,), []),
        "accepted, older revision": UNCHANGED,
        "rejected, older request": UNCHANGED,
        "rejected, older revision": UNCHANGED,
        **IGNORED_RETRIES,
        **IGNORED_PURCHASE_ORDER_EVENTS,
        **dict.fromkeys(CLOSING_EVENTS, RETRY_SCHEDULED),
        "purchase order overdue": FLAGGED_OVERDUE,
        "cancel": ORDER_CANCELLED,
        "change": ORDER_CHANGED,
        "status limit exceeded": FLAGGED_OVERDUE,
    },
    DELIVERABLE: {
        **IGNORED_REPLIES,
        **IGNORED_RETRIES,
        **IGNORED_PURCHASE_ORDER_EVENTS,
        "deliver": ((DELIVERED,), [SalesOrderDelivered, ShipReservation]),
        "cancel": ORDER_CANCELLED,
        "change": ORDER_CHANGED,
        "status limit exceeded": FLAGGED_OVERDUE,
    },
    DELIVERED: {
        **IGNORED_REPLIES,
        **IGNORED_RETRIES,
        **IGNORED_PURCHASE_ORDER_EVENTS,
        "deliver": UNCHANGED,
    },
    CANCELLED: {
        **IGNORED_REPLIES,
        "accepted": ((), [ReleaseReservation]),
        "accepted, older revision": ((), [ReleaseReservation]),
        **IGNORED_RETRIES,
        **IGNORED_PURCHASE_ORDER_EVENTS,
        "cancel": UNCHANGED,
    },
}
DELIVERED_AUTOMATICALLY: Outcome = (
    (DELIVERABLE, DELIVERED),
    [SalesOrderDelivered, ShipReservation],
)
AUTOMATIC = {
    **MANUAL,
    AWAITING_STOCK_RESERVATION: {
        **MANUAL[AWAITING_STOCK_RESERVATION],
        "accepted": DELIVERED_AUTOMATICALLY,
    },
    AWAITING_GOODS_RECEIVED: {
        **MANUAL[AWAITING_GOODS_RECEIVED],
        "accepted": DELIVERED_AUTOMATICALLY,
    },
}
REJECTED_REQUESTS = {
    (AWAITING_STOCK_RESERVATION, "deliver"): (
        "S-1 cannot be delivered: its status is awaiting stock reservation. Wait until Stock"
    ),
    (AWAITING_GOODS_RECEIVED, "deliver"): (
        "S-1 cannot be delivered: its status is awaiting goods received. Wait until the goods"
    ),
    (CANCELLED, "deliver"): "S-1 cannot be delivered: its status is cancelled. Place a new",
    (DELIVERED, "cancel"): "S-1 cannot be cancelled: its status is delivered. Record returned",
    (DELIVERED, "change"): "S-1 cannot be changed: its status is delivered. Place a new",
    (CANCELLED, "change"): "S-1 cannot be changed: its status is cancelled. Place a new",
    (AWAITING_GOODS_RECEIVED, "retry by a user"): (
        "S-1 cannot be retried: its status is awaiting goods received"
    ),
    (DELIVERABLE, "retry by a user"): "S-1 cannot be retried: its status is deliverable",
    (DELIVERED, "retry by a user"): "S-1 cannot be retried: its status is delivered",
    (CANCELLED, "retry by a user"): "S-1 cannot be retried: its status is cancelled",
}


@pytest.mark.parametrize("automatic", [False, True], ids=["manual", "automatic"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("status", Status)
def test_every_cell_of_the_table(status: Status, variant: str, automatic: bool) -> None:
    before = process(status, automatic=automatic)
    outcome = (AUTOMATIC if automatic else MANUAL)[status].get(variant)
    if (status, variant) in REJECTED_REQUESTS:
        with pytest.raises(ConflictError, match=REJECTED_REQUESTS[status, variant]):
            decide(before, *VARIANTS[variant])
    elif outcome is None:
        with pytest.raises(UnexpectedMessage, match=f"No transition for .* in status {status}"):
            decide(before, *VARIANTS[variant])
    else:
        decision = decide(before, *VARIANTS[variant])
        assert (decision.entered, [type(each) for each in decision.messages]) == outcome
        assert decision.process.status == (outcome[0][-1] if outcome[0] else status)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("status", Status)
def test_exactly_one_transition_applies_to_expected_messages(status: Status, variant: str) -> None:
    message, facts = VARIANTS[variant]
    expected = variant in MANUAL[status] or (status, variant) in REJECTED_REQUESTS
    candidates = [
        each for each in TRANSITIONS if status in each.statuses and type(message) in each.messages
    ]
    for policy in WithdrawPolicy:
        facts = replace(facts, withdraw_policy=policy)
        for before in variations(status):
            applicable = [each for each in candidates if each.applies(before, message, facts)]
            already_overdue = before.overdue and variant == "status limit exceeded"
            assert len(applicable) == int(expected and not already_overdue), (before, policy)


@cache
def variations(status: Status) -> list[Process]:
    """Return processes in this status that differ in everything that a guard reads."""
    flags = (False, True)
    varied = []
    for automatic, on_order, purchase_count, needs_attention, overdue in product(
        flags, (0, 2, 3), (0, 4), flags, flags
    ):
        each = replace(
            process(status, automatic=automatic, on_order=on_order),
            purchase_count=purchase_count,
            needs_attention=needs_attention,
            overdue=overdue,
        )
        varied += [each, with_second_order(each), with_second_order(each, overdue=True)]
    return varied


def _decide(status: Status, variant: str) -> Decision:
    return decide(process(status), *VARIANTS[variant])


# -- reservation requests ------------------------------------------------------------------------


def test_first_request_has_number_1() -> None:
    [request] = decide(replace(process(NEW), request_number=0), *VARIANTS["created"]).messages
    assert isinstance(request, MakeReservation)
    assert (request.request_number, request.lines) == (1, LINES)


def test_scheduled_retry_numbers_the_next_request() -> None:
    decision = _decide(AWAITING_GOODS_RECEIVED, "final receipt")
    [retry] = decision.messages
    assert isinstance(retry, RetryReservation)
    assert retry.request_number == decision.process.request_number == 6
    [request] = decide(decision.process, retry, CAUGHT_UP).messages
    assert isinstance(request, MakeReservation)
    assert (request.revision, request.request_number, request.lines) == (2, 6, LINES)


def test_pending_retry_makes_older_rejection_stale() -> None:
    pending = _decide(AWAITING_GOODS_RECEIVED, "final receipt").process
    assert decide(pending, REJECTED, FACTS).messages == ()


def test_retry_countdown_doubles_up_to_maximum() -> None:
    decision = _decide(AWAITING_GOODS_RECEIVED, "final receipt")
    countdowns = []
    for _ in range(5):
        [retry] = decision.messages
        assert isinstance(retry, RetryReservation)
        countdowns.append(retry.countdown)
        decision = decide(decision.process, retry, FACTS)
    assert countdowns == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_retry_due_now_is_postponed_by_initial_countdown() -> None:
    changed = _decide(AWAITING_GOODS_RECEIVED, "change")
    _, retry = changed.messages
    assert isinstance(retry, RetryReservation)
    assert retry.countdown == 0
    [postponed] = decide(changed.process, retry, FACTS).messages
    assert isinstance(postponed, RetryReservation)
    assert postponed.countdown == 2.0


# -- purchases -----------------------------------------------------------------------------------


def purchased(decision: Decision) -> list[tuple[UUID, int]]:
    commands = [each for each in decision.messages if isinstance(each, CreatePurchaseOrder)]
    return [(line.product_id, line.quantity) for command in commands for line in command.lines]


def test_shortage_is_purchased_with_new_id_and_pegged() -> None:
    decision = decide(process(AWAITING_STOCK_RESERVATION, on_order=0), REJECTED, FACTS)
    pegged = PeggedQuantity(product_id=CHAIR, quantity=3, pegged_to=SALES_ORDER)
    assert decision.messages == (
        CreatePurchaseOrder(
            purchase_order_id=NEW_ORDER, requester_id=SALES_ORDER, lines=(pegged,)
        ),
    )
    assert decision.process.open_purchase_orders == (
        OpenPurchaseOrder(purchase_order_id=NEW_ORDER, lines=LINES),
    )
    assert decision.entered == (AWAITING_GOODS_RECEIVED,)


@pytest.mark.parametrize(("on_order", "quantities"), [(2, [(CHAIR, 1)]), (3, []), (9, [])])
def test_quantity_on_order_is_not_purchased_again(
    on_order: int, quantities: list[tuple[UUID, int]]
) -> None:
    before = process(AWAITING_STOCK_RESERVATION, on_order=on_order)
    assert purchased(decide(before, REJECTED, FACTS)) == quantities


def test_other_product_on_order_does_not_cover_shortage() -> None:
    shortages = (*LINES, ProductQuantity(product_id=DESK, quantity=1))
    rejected = replace(REJECTED, shortages=shortages)
    decision = decide(process(AWAITING_STOCK_RESERVATION), rejected, FACTS)
    assert purchased(decision) == [(DESK, 1)]


def test_fourth_failed_purchase_publishes_needs_attention_once() -> None:
    before = process(AWAITING_STOCK_RESERVATION, on_order=0)
    assert decide(replace(before, purchase_count=3), REJECTED, FACTS).process.purchase_count == 4
    decision = decide(replace(before, purchase_count=4), REJECTED, FACTS)
    event = SalesOrderNeedsAttention(sales_order_id=SALES_ORDER, shortages=LINES)
    assert decision.messages == (event,)
    assert decision.process.status == AWAITING_STOCK_RESERVATION
    assert decision.process.needs_attention
    assert decide(decision.process, REJECTED, FACTS).messages == ()


def test_covered_shortage_is_awaited_at_purchase_limit() -> None:
    before = replace(process(AWAITING_STOCK_RESERVATION), purchase_count=4)
    after = decide(before, REJECTED, FACTS).process
    assert (after.status, after.needs_attention) == (AWAITING_GOODS_RECEIVED, False)


@pytest.mark.parametrize("variant", ["retry by a user", "change"])
def test_user_decision_resets_purchase_count(variant: str) -> None:
    flagged = replace(
        process(AWAITING_STOCK_RESERVATION, on_order=0), purchase_count=4, needs_attention=True
    )
    decision = decide(flagged, *VARIANTS[variant])
    assert (decision.process.purchase_count, decision.process.needs_attention) == (0, False)
    retry = decision.messages[-1]
    assert isinstance(retry, RetryReservation)
    assert (retry.request_number, retry.countdown) == (6, 0)


# -- linked purchase orders ----------------------------------------------------------------------


@pytest.mark.parametrize("variant", CLOSING_EVENTS)
@pytest.mark.parametrize("status", STORED_STATUSES)
def test_closing_event_closes_linked_order(status: Status, variant: str) -> None:
    assert _decide(status, variant).process.open_purchase_orders == ()


@pytest.mark.parametrize("status", STORED_STATUSES)
def test_partial_receipt_changes_nothing(status: Status) -> None:
    assert _decide(status, "partial receipt").process == process(status)


def test_closing_one_of_two_orders_schedules_retry() -> None:
    decision = decide(with_second_order(process(AWAITING_GOODS_RECEIVED)), RECEIVED, FACTS)
    assert decision.entered == (AWAITING_STOCK_RESERVATION,)
    both = with_second_order(process(AWAITING_GOODS_RECEIVED)).open_purchase_orders
    [second] = [order for order in both if order.purchase_order_id == SECOND_ORDER]
    assert decision.process.open_purchase_orders == (second,)


@pytest.mark.parametrize(
    ("policy", "withdrawn"),
    [
        (WithdrawPolicy.NEVER, False),
        (WithdrawPolicy.ON_CANCEL, True),
        (WithdrawPolicy.WHEN_UNNEEDED, True),
    ],
)
def test_cancel_withdraws_linked_orders_by_policy(policy: WithdrawPolicy, withdrawn: bool) -> None:
    facts = replace(FACTS, withdraw_policy=policy)
    messages = decide(process(AWAITING_GOODS_RECEIVED), Cancel(reference="S-1"), facts).messages
    assert (WITHDRAW in messages) == withdrawn


@pytest.mark.parametrize("automatic", [False, True], ids=["manual", "automatic"])
@pytest.mark.parametrize(
    ("policy", "withdrawn"),
    [
        (WithdrawPolicy.NEVER, False),
        (WithdrawPolicy.ON_CANCEL, False),
        (WithdrawPolicy.WHEN_UNNEEDED, True),
    ],
)
def test_acceptance_withdraws_linked_orders_by_policy(
    policy: WithdrawPolicy, withdrawn: bool, automatic: bool
) -> None:
    facts = replace(FACTS, withdraw_policy=policy)
    before = process(AWAITING_GOODS_RECEIVED, automatic=automatic)
    assert (WITHDRAW in decide(before, ACCEPTED, facts).messages) == withdrawn


# -- overdue flag --------------------------------------------------------------------------------


def test_order_becomes_overdue_once_in_a_status() -> None:
    flagged = _decide(AWAITING_GOODS_RECEIVED, "status limit exceeded").process
    assert flagged.overdue
    assert decide(flagged, OVERDUE, FACTS).messages == ()
    assert not decide(flagged, ACCEPTED, FACTS).process.overdue


def test_overdue_goods_keep_order_overdue_until_rescheduled() -> None:
    flagged = _decide(AWAITING_GOODS_RECEIVED, "purchase order overdue").process
    changed = decide(flagged, *VARIANTS["change"]).process
    awaiting = decide(changed, replace(REJECTED, revision=3, request_number=6), FACTS).process
    assert (changed.overdue, awaiting.overdue) == (True, True)
    assert awaiting.status == AWAITING_GOODS_RECEIVED
    rescheduled = decide(awaiting, RESCHEDULED, FACTS).process
    assert not rescheduled.overdue
    [event] = decide(rescheduled, OVERDUE, FACTS).messages  # the new date has passed, too
    assert isinstance(event, SalesOrderOverdue)


def test_other_overdue_order_keeps_overdue_after_reschedule() -> None:
    before = with_second_order(process(AWAITING_GOODS_RECEIVED), overdue=True)
    assert decide(replace(before, overdue=True), RESCHEDULED, FACTS).process.overdue
