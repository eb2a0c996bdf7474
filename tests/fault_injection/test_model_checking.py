"""The rules, in the small: no order of messages, however unlucky, breaks an invariant or leaves an order waiting for ever."""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from uuid import UUID

import django
import pytest

from sales.process_manager import WithdrawPolicy
from stock.allocation import Backorder, allocate
from stock.contract import MakeReservation
from tests.fault_injection import model
from tests.fault_injection.model import Broken, Order, Scenario, Step, explore

pytestmark = pytest.mark.local_only

Patch = pytest.MonkeyPatch
Waits = Mapping[UUID, Backorder]

SCENARIOS = [
    Scenario(
        name="two want the last chair; goods come in part, the rest never, and one is found",
        orders=(Order(wants=(2, 0)), Order(wants=(2, 0), priority=1)),
        shelf=(1, 0),
        partial_receipts=1,
        closed_short=1,
        found=1,
    ),
    Scenario(
        name="two products for two, in parts",
        orders=(Order(wants=(1, 1)), Order(wants=(1, 1))),
        partial_receipts=2,
    ),
    Scenario(
        name="two products for two, who hold what is there",
        orders=(Order(wants=(1, 2)), Order(wants=(2, 1))),
        shelf=(1, 1),
        allow_partial=True,
        partial_receipts=1,
        closed_short=1,
    ),
    Scenario(
        name="the supplier cancels twice",
        orders=(Order(wants=(1, 1)), Order(wants=(1, 0))),
        purchases_cancelled=2,
    ),
    Scenario(
        name="the supplier cancels until a person has to decide",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0))),
        purchases_cancelled=2,
        max_repurchases=0,
    ),
    Scenario(
        name="a customer cancels",
        orders=(Order(wants=(2, 0)), Order(wants=(1, 1), automatic=False)),
        orders_cancelled=1,
        partial_receipts=1,
    ),
    Scenario(
        name="a customer cancels, and purchase orders that nobody needs are cancelled",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0))),
        orders_cancelled=1,
        withdraw_policy=WithdrawPolicy.UNNEEDED,
    ),
    Scenario(
        name="a customer cancels, and purchase orders are kept",
        orders=(Order(wants=(2, 0)), Order(wants=(1, 0))),
        orders_cancelled=1,
        found=1,
        withdraw_policy=WithdrawPolicy.NEVER,
    ),
    Scenario(
        name="one of two customers changes the order",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0))),
        shelf=(1, 0),
        orders_changed=1,
    ),
    Scenario(
        name="a customer changes the order twice",
        orders=(Order(wants=(1, 1)),),
        shelf=(1, 0),
        orders_changed=2,
    ),
    Scenario(
        name="messages that may come twice do",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0))),
        shelf=(1, 0),
        duplicates=2,
        withdraw_policy=WithdrawPolicy.UNNEEDED,
    ),
    Scenario(
        name="three want the last chair",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0)), Order(wants=(1, 0), priority=1)),
        shelf=(1, 0),
    ),
    Scenario(
        name="three want the last two chairs, and one cancels",
        orders=(Order(wants=(1, 0)), Order(wants=(1, 0)), Order(wants=(1, 0), priority=1)),
        shelf=(2, 0),
        orders_cancelled=1,
    ),
    Scenario(
        name="three and two products",
        orders=(Order(wants=(1, 1)), Order(wants=(1, 0)), Order(wants=(0, 1))),
        shelf=(1, 1),
    ),
]


@pytest.mark.serial
def test_no_order_of_messages_breaks_anything(capsys: pytest.CaptureFixture[str]) -> None:
    # Processes that are made anew: what was forked from this one would share its database.
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=django.setup) as pool:
        states, transitions = map(sum, zip(*pool.map(_how_many, SCENARIOS), strict=True))
    with capsys.disabled():
        print(
            f"\n{len(SCENARIOS)} scenarios: {states:,} states, {transitions:,} transitions, an end is reachable from each"
        )


def _how_many(scenario: Scenario) -> tuple[int, int]:
    explored = explore(scenario)
    return len(explored.worlds), explored.transitions


def allocate_to_the_first(
    available: int, waits: Waits, pegs: Mapping[UUID, int] | None = None
) -> dict[UUID, int]:
    return dict(list(allocate(available, waits, pegs).items())[:1])


def allocate_without_pegs(
    available: int, waits: Waits, pegs: Mapping[UUID, int] | None = None
) -> dict[UUID, int]:
    return allocate(available, waits)


def a_lost_timer(patch: Patch) -> None:
    patch.setattr(Step, "set_timer", lambda step, timer: None)


def no_has_handled(patch: Patch) -> None:
    patch.setattr(model, "has_handled", lambda world, message: True)


def a_repeated_question_without_an_answer(patch: Patch) -> None:
    reserve = Step.reserve

    def answer_once(step: Step, request: MakeReservation) -> None:
        if step.reservations[request.reservation_id.int - 100] is None:
            reserve(step, request)

    patch.setattr(Step, "reserve", answer_once)


def a_waiter_who_is_skipped(patch: Patch) -> None:
    patch.setattr(model, "allocate", allocate_to_the_first)


def no_peg(patch: Patch) -> None:
    patch.setattr(model, "allocate", allocate_without_pegs)


@pytest.mark.parametrize(
    ("plant", "sign"),
    [
        (a_lost_timer, "wait for ever"),
        (no_has_handled, "before Stock had caught up"),
        (a_repeated_question_without_an_answer, "wait for ever"),
        (a_waiter_who_is_skipped, "waits for what is there"),
        (no_peg, "went to somebody else"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_it_finds(plant: Callable[[Patch], None], sign: str, monkeypatch: Patch) -> None:
    plant(monkeypatch)
    with pytest.raises(Broken, match=sign):
        for scenario in SCENARIOS:
            explore(scenario)
