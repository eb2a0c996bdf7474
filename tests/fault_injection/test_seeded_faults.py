"""The simulation finds what it is for: each of these faults, planted into the product, within its usual budget."""

import sys
import uuid
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, transaction
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import sales.services.work
import stock.services
import stock.services.work
from orderflow.messaging import consuming, publishing
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus
from orderflow.messaging.publishing import OutgoingMessage
from sales.process_manager import RetryReservation
from stock.contract import MakeReservation
from stock.services.ledger import Ledger
from tests.concurrency.threads import without_row_locks
from tests.fault_injection.simulation import Simulation
from tests.fault_injection.test_model_checking import allocate_to_the_first, allocate_without_pegs
from tests.fault_injection.test_simulation import BUDGET

pytestmark = pytest.mark.django_db(transaction=True)
# The same stories each time, and nothing is remembered for other runs.
ONCE = settings(BUDGET, phases=[Phase.generate], derandomize=True, database=None)

Patch = pytest.MonkeyPatch
SIGNS = (
    AssertionError,
    DatabaseError,
)  # an invariant that does not hold, or a constraint that objects


class Found(BaseException):
    """Nothing that Hypothesis would tell again, twice."""


class UntilItIsFound(Simulation):
    def teardown(self) -> None:
        sign = sys.exception()
        try:
            super().teardown()
        except SIGNS as error:
            sign = error
        if isinstance(sign, SIGNS):
            raise Found from sign


def no_idempotence(patch: Patch) -> None:
    """The effects in one transaction, and that they are done in another."""
    delete = consuming._delete
    patch.setattr(consuming, "_delete", lambda taken: transaction.on_commit(lambda: delete(taken)))


def a_request_that_is_repeated_has_its_effect_again(patch: Patch) -> None:
    patch.setattr(stock.services, "adjusted", lambda ids: {})
    patch.setattr(Ledger, "_note", _with_a_new_document(Ledger._note))


def a_lost_timer(patch: Patch) -> None:
    """Orders that are served meanwhile do not need it; one whose purchase order was closed short does."""
    publish = publishing.publish

    def forget_timers(outgoing: list[OutgoingMessage]) -> list[int]:
        return publish(
            [each for each in outgoing if not isinstance(each.message, RetryReservation)]
        )

    patch.setattr(sales.services.work, "publish", forget_timers)


def no_has_handled(patch: Patch) -> None:
    patch.setattr(sales.services.work, "unhandled", lambda consumer, messages: set())


def a_repeated_question_without_an_answer(patch: Patch) -> None:
    reserve = stock.services.work.Work.reserve

    def answer_once(work: stock.services.work.Work, request: MakeReservation) -> None:
        if request.reservation_id not in work._reservations:
            reserve(work, request)

    patch.setattr(stock.services.work.Work, "reserve", answer_once)


def a_waiter_who_is_skipped(patch: Patch) -> None:
    patch.setattr(stock.services.work, "allocate", allocate_to_the_first)


def no_peg(patch: Patch) -> None:
    patch.setattr(stock.services.work, "allocate", allocate_without_pegs)


def a_missing_row_in_the_ledger(patch: Patch) -> None:
    patch.setattr(
        Ledger,
        "promise",
        lambda ledger, product, quantity, **_: ledger._balances[product].promise(quantity),
    )


def a_wake_up_that_nothing_makes_good(patch: Patch) -> None:
    patch.setattr("tests.fault_injection.simulation.sweep", lambda: None)


def a_failed_message_that_is_thrown_away(patch: Patch) -> None:
    def discard(delivery: QueuedMessage, error: Exception) -> None:
        delivery.status, delivery.last_error = QueuedMessageStatus.DISCARDED, str(error)

    patch.setattr(consuming, "_record_failure", discard)


FAULTS: list[Callable[[Patch], None]] = [
    no_idempotence,
    a_request_that_is_repeated_has_its_effect_again,
    a_lost_timer,
    no_has_handled,
    a_repeated_question_without_an_answer,
    a_waiter_who_is_skipped,
    no_peg,
    a_missing_row_in_the_ledger,
    a_wake_up_that_nothing_makes_good,
    a_failed_message_that_is_thrown_away,
]


@pytest.mark.local_only
@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_it_finds(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    _assert_it_is_found()


@pytest.mark.postgresql_only
def test_it_finds_that_nothing_is_locked(monkeypatch: Patch) -> None:
    """SQLite lets one transaction write at a time, whoever asks for a lock."""
    without_row_locks(monkeypatch)
    _assert_it_is_found()


def _assert_it_is_found() -> None:
    with pytest.raises(Found):
        run_state_machine_as_test(UntilItIsFound, settings=ONCE)


def _with_a_new_document(note: Callable[..., None]) -> Callable[..., None]:
    def noted(ledger: Ledger, kind: Any, product: UUID, *, document: UUID, **numbers: Any) -> None:
        note(
            ledger,
            kind,
            product,
            source_document_id=uuid.uuid4() if kind == "adjusted" else document,
            **numbers,
        )

    return noted
