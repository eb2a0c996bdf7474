"""Model checking: explore every order of messages in small scenarios.

No state may violate an invariant, and every order must be able to reach its end.
"""

import gc
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from uuid import UUID

import pytest

from sales.process_manager import WithdrawPolicy
from stock.allocation import Backorder, allocate
from stock.contract import MakeReservation
from tests.fault_injection import model
from tests.fault_injection.model import InvariantViolated, Order, Scenario, Successor, explore

pytestmark = pytest.mark.local_only

Patch = pytest.MonkeyPatch
Backorders = Mapping[UUID, Backorder]

SCENARIOS = [
    Scenario(
        name="two orders for the last chair; partial receipt, close short, adjustment",
        orders=(Order(quantities=(2, 0)), Order(quantities=(2, 0), priority=1)),
        on_hand=(1, 0),
        partial_receipts=1,
        closed_short=1,
        adjustments=1,
    ),
    Scenario(
        name="two orders for two products; partial receipts",
        orders=(Order(quantities=(1, 1)), Order(quantities=(1, 1))),
        partial_receipts=2,
    ),
    Scenario(
        name="two orders for two products; partial reservations, partial receipt, close short",
        orders=(Order(quantities=(1, 2)), Order(quantities=(2, 1))),
        on_hand=(1, 1),
        allow_partial=True,
        partial_receipts=1,
        closed_short=1,
    ),
    Scenario(
        name="two purchase orders are cancelled",
        orders=(Order(quantities=(1, 1)), Order(quantities=(1, 0))),
        purchase_orders_cancelled=2,
    ),
    Scenario(
        name="purchase orders are cancelled until the purchase limit is reached",
        orders=(Order(quantities=(1, 0)), Order(quantities=(1, 0))),
        purchase_orders_cancelled=2,
        max_repurchases=0,
    ),
    Scenario(
        name="a sales order is cancelled; its purchase order is withdrawn",
        orders=(Order(quantities=(2, 0)), Order(quantities=(1, 1), automatic=False)),
        orders_cancelled=1,
        partial_receipts=1,
    ),
    Scenario(
        name="a sales order is cancelled; unneeded purchase orders are withdrawn",
        orders=(Order(quantities=(1, 0)), Order(quantities=(1, 0))),
        orders_cancelled=1,
        withdraw_policy=WithdrawPolicy.WHEN_UNNEEDED,
    ),
    Scenario(
        name="a sales order is cancelled; purchase orders are kept; adjustment",
        orders=(Order(quantities=(2, 0)), Order(quantities=(1, 0))),
        orders_cancelled=1,
        adjustments=1,
        withdraw_policy=WithdrawPolicy.NEVER,
    ),
    Scenario(
        name="one of two sales orders is changed",
        orders=(Order(quantities=(1, 0)), Order(quantities=(1, 0))),
        on_hand=(1, 0),
        orders_changed=1,
    ),
    Scenario(
        name="a sales order is changed twice",
        orders=(Order(quantities=(1, 1)),),
        on_hand=(1, 0),
        orders_changed=2,
    ),
    Scenario(
        name="messages are duplicated",
        orders=(Order(quantities=(1, 0)), Order(quantities=(1, 0))),
        on_hand=(1, 0),
        duplicates=2,
        withdraw_policy=WithdrawPolicy.WHEN_UNNEEDED,
    ),
    Scenario(
        name="three orders for the last chair",
        orders=(
            Order(quantities=(1, 0)),
            Order(quantities=(1, 0)),
            Order(quantities=(1, 0), priority=1),
        ),
        on_hand=(1, 0),
    ),
    Scenario(
        name="three orders for the last two chairs; one is cancelled",
        orders=(
            Order(quantities=(1, 0)),
            Order(quantities=(1, 0)),
            Order(quantities=(1, 0), priority=1),
        ),
        on_hand=(2, 0),
        orders_cancelled=1,
    ),
    Scenario(
        name="three orders for two products",
        orders=(Order(quantities=(1, 1)), Order(quantities=(1, 0)), Order(quantities=(0, 1))),
        on_hand=(1, 1),
    ),
]


def test_every_message_order_keeps_invariants(capsys: pytest.CaptureFixture[str]) -> None:
    # "spawn": forked processes would share the database connection of this one. Without garbage
    # collection: every state is kept until the end.
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=gc.disable) as pool:
        states, transitions = map(sum, zip(*pool.map(_counts, SCENARIOS), strict=True))
    with capsys.disabled():
        print(
            f"\n{len(SCENARIOS)} scenarios: {states:,} states, {transitions:,} transitions; "
            "every state can reach an end"
        )


def _counts(scenario: Scenario) -> tuple[int, int]:
    exploration = explore(scenario)
    return len(exploration.states), exploration.transitions


# -- seeded faults -------------------------------------------------------------------------------


def allocate_to_first_only(
    available: int, backorders: Backorders, pegs: Mapping[UUID, int] | None = None
) -> dict[UUID, int]:
    return dict(list(allocate(available, backorders, pegs).items())[:1])


def allocate_without_pegs(
    available: int, backorders: Backorders, pegs: Mapping[UUID, int] | None = None
) -> dict[UUID, int]:
    return allocate(available, backorders)


def lost_scheduled_retry(patch: Patch) -> None:
    patch.setattr(Successor, "schedule", lambda successor, retry: None)


def no_caught_up_check(patch: Patch) -> None:
    patch.setattr(model, "has_handled", lambda state, message: True)


def no_reply_to_repeated_request(patch: Patch) -> None:
    reserve = Successor.reserve

    def reserve_once(successor: Successor, request: MakeReservation) -> None:
        if successor.reservations[request.reservation_id.int - 100] is None:
            reserve(successor, request)

    patch.setattr(Successor, "reserve", reserve_once)


def skipped_backorder(patch: Patch) -> None:
    patch.setattr(model, "allocate", allocate_to_first_only)


def ignored_pegs(patch: Patch) -> None:
    patch.setattr(model, "allocate", allocate_without_pegs)


@pytest.mark.parametrize(
    ("seed_fault", "violation"),
    [
        (lost_scheduled_retry, "can never be closed"),
        (no_caught_up_check, "before Stock had caught up"),
        (no_reply_to_repeated_request, "can never be closed"),
        (skipped_backorder, "although its shortage is available"),
        (ignored_pegs, "were allocated to another order"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_seeded_fault_is_detected(
    seed_fault: Callable[[Patch], None], violation: str, monkeypatch: Patch
) -> None:
    seed_fault(monkeypatch)
    with pytest.raises(InvariantViolated, match=violation):
        for scenario in SCENARIOS:
            explore(scenario)
