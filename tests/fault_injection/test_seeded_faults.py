"""The simulation detects each seeded fault within 20 runs."""

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
import stock.services.adjustments
import stock.services.work
from orderflow.messaging import consuming, publishing
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus
from orderflow.messaging.publishing import OutgoingMessage
from sales.process_manager import RetryReservation
from stock.contract import MakeReservation
from stock.models import MovementType
from stock.services.ledger import Ledger
from stock.services.work import Work
from tests.concurrency.threads import without_row_locks
from tests.fault_injection.simulation import Simulation
from tests.fault_injection.test_model_checking import allocate_to_first_only, allocate_without_pegs
from tests.fault_injection.test_simulation import SETTINGS

pytestmark = pytest.mark.django_db(transaction=True)
# The same runs each time; nothing is stored for other runs.
FIXED_RUNS = settings(
    SETTINGS, max_examples=20, phases=[Phase.generate], derandomize=True, database=None
)

Patch = pytest.MonkeyPatch
SYMPTOMS = (AssertionError, DatabaseError)  # a violated invariant, or a violated constraint


class Detected(BaseException):
    """Ends the run at once: Hypothesis repeats an ordinary error to report it."""


class UntilDetected(Simulation):
    def teardown(self) -> None:
        symptom = sys.exception()
        try:
            super().teardown()
        except SYMPTOMS as error:
            symptom = error
        if isinstance(symptom, SYMPTOMS):
            raise Detected from symptom


def deletion_in_another_transaction(patch: Patch) -> None:
    """Queued messages are deleted after the transaction of their effects."""
    delete = consuming._delete
    patch.setattr(
        consuming, "_delete", lambda handled: transaction.on_commit(lambda: delete(handled))
    )


def repeated_adjustment_is_recorded_again(patch: Patch) -> None:
    patch.setattr(stock.services.adjustments, "recorded_adjustments", lambda ids: {})
    patch.setattr(Ledger, "_record", _with_new_adjustment_id(Ledger._record))


def lost_scheduled_retry(patch: Patch) -> None:
    """Only some orders need the retry: those whose purchase order closes with a shortage."""
    publish = publishing.publish

    def publish_without_retries(outgoing: list[OutgoingMessage]) -> list[int]:
        return publish(
            [each for each in outgoing if not isinstance(each.message, RetryReservation)]
        )

    patch.setattr(sales.services.work, "publish", publish_without_retries)


def no_caught_up_check(patch: Patch) -> None:
    patch.setattr(sales.services.work, "unhandled", lambda consumer, message_ids: set())


def no_reply_to_repeated_request(patch: Patch) -> None:
    reserve = Work.reserve

    def reserve_once(work: Work, request: MakeReservation) -> None:
        if request.reservation_id not in work._reservations:
            reserve(work, request)

    patch.setattr(Work, "reserve", reserve_once)


def skipped_backorder(patch: Patch) -> None:
    patch.setattr(stock.services.work, "allocate", allocate_to_first_only)


def ignored_pegs(patch: Patch) -> None:
    patch.setattr(stock.services.work, "allocate", allocate_without_pegs)


def missing_ledger_row(patch: Patch) -> None:
    def reserve(ledger: Ledger, product_id: UUID, quantity: int, **_: Any) -> None:
        ledger._levels[product_id].reserve(quantity)

    patch.setattr(Ledger, "reserve", reserve)


def no_sweep(patch: Patch) -> None:
    patch.setattr("tests.fault_injection.simulation.sweep", lambda: None)


def failed_message_is_discarded(patch: Patch) -> None:
    def discard(queued: QueuedMessage, error: Exception) -> None:
        queued.status, queued.last_error = QueuedMessageStatus.DISCARDED, str(error)

    patch.setattr(consuming, "_record_failure", discard)


FAULTS: list[Callable[[Patch], None]] = [
    deletion_in_another_transaction,
    repeated_adjustment_is_recorded_again,
    lost_scheduled_retry,
    no_caught_up_check,
    no_reply_to_repeated_request,
    skipped_backorder,
    ignored_pegs,
    missing_ledger_row,
    no_sweep,
    failed_message_is_discarded,
]


@pytest.mark.local_only
@pytest.mark.parametrize("seed_fault", FAULTS, ids=lambda seed_fault: seed_fault.__name__)
def test_seeded_fault_is_detected(seed_fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    seed_fault(monkeypatch)
    _assert_detected()


@pytest.mark.postgresql_only
def test_missing_row_locks_are_detected(monkeypatch: Patch) -> None:
    """On SQLite only one transaction writes at a time, with or without row locks."""
    without_row_locks(monkeypatch)
    _assert_detected()


def _assert_detected() -> None:
    with pytest.raises(Detected):
        run_state_machine_as_test(UntilDetected, settings=FIXED_RUNS)


def _with_new_adjustment_id(record: Callable[..., None]) -> Callable[..., None]:
    def record_as_new(
        ledger: Ledger,
        movement_type: MovementType,
        product_id: UUID,
        *,
        source_document_id: UUID,
        **values: Any,
    ) -> None:
        if movement_type == MovementType.ADJUSTED:
            source_document_id = uuid.uuid4()
        record(ledger, movement_type, product_id, source_document_id=source_document_id, **values)

    return record_as_new
