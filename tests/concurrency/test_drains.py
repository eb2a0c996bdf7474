"""Two drains of one consumer: each message is handled once, and in the order of its key."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging import consuming, subscriptions
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message, ReceivedMessage
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from stock.contract import MakeReservation, ShipReservation
from stock.models import MovementType, StockLevel, StockMovement
from stock.services import Adjustment, adjust_stock
from tests.concurrency.threads import meet, run_behind_lock, without_row_locks
from tests.conftest import add_stock, product

pytestmark = [pytest.mark.postgresql_only, pytest.mark.django_db(transaction=True)]

CLAIMED = (consuming, "_received")  # the consumer and a batch of queued messages are locked
KEY, OTHER_KEY = uuid4(), uuid4()
FailFor = Callable[[Collection[int]], None]

drain_stock = partial(drain, "stock", batch=2)


def test_concurrent_drains_handle_each_message_once_in_order(recording_consumer: None) -> None:
    # Fails without the lock of the consumer: the second drain handles a part of the messages.
    # The next two tests show what else prevents that a message is handled twice.
    message_ids = publish_for_keys(KEY, OTHER_KEY, KEY, OTHER_KEY, KEY)

    drained = meet(drain_stock, drain_stock, at=CLAIMED)

    assert (drained.first, drained.second) == (5, 0)
    assert not drained.second_waited
    assert handled() == message_ids


def test_missing_locks_are_compensated_by_count_of_deleted_rows(
    monkeypatch: pytest.MonkeyPatch, recording_consumer: None
) -> None:
    message_ids = publish_for_keys(KEY, OTHER_KEY, KEY)
    without_row_locks(monkeypatch)

    drained = meet(drain_stock, drain_stock, at=CLAIMED)

    assert (drained.first, drained.second) == (0, 3)
    assert handled() == message_ids


def test_missing_locks_and_count_handle_messages_twice(
    monkeypatch: pytest.MonkeyPatch, recording_consumer: None
) -> None:
    def delete_without_count(handled: Sequence[QueuedMessage]) -> None:
        QueuedMessage.objects.filter(id__in=[queued.pk for queued in handled]).delete()

    message_ids = publish_for_keys(KEY, OTHER_KEY, KEY)
    without_row_locks(monkeypatch)
    monkeypatch.setattr(consuming, "_delete", delete_without_count)

    meet(drain_stock, drain_stock, at=CLAIMED)

    assert handled() == [*message_ids, *message_ids[:2]]


def test_failed_message_blocks_its_key_in_concurrent_drains(failing_consumer: FailFor) -> None:
    # Fails if a failed message does not block its key.
    failing, _, other = publish_for_keys(KEY, KEY, OTHER_KEY)
    failing_consumer([failing])

    meet(drain_stock, drain_stock, at=CLAIMED)

    assert handled() == [other]


def test_isolated_mode_does_not_deadlock_with_adjustment() -> None:
    # Fails if isolated mode handles all messages in one transaction: that locks stock levels in
    # the order of the messages.
    add_stock(chair=1, sofa=1, table=1)
    first, middle, last = sorted(product(sku) for sku in ("chair", "sofa", "table"))
    undecodable = StoredMessage.objects.filter(id__in=publish_for_keys(KEY))
    undecodable.update(payload={})  # the batch fails before it locks a stock level
    publish_each(*(reservation_request(each) for each in (last, middle, first)))

    run_behind_lock(
        partial(drain, "stock"),
        partial(adjust_stock, [adjustment(first), adjustment(middle)], actor="ann"),
        lock=partial(lock_stock_level, middle),
    )

    levels = StockLevel.objects.filter(product__in=[first, middle])
    assert [level.on_hand for level in levels] == [2, 2]


# -- a consumer that records messages ------------------------------------------------------------


@pytest.fixture
def failing_consumer(monkeypatch: pytest.MonkeyPatch) -> FailFor:
    """Make Stock record each message in the ledger, also a repeated one.

    Returns a function that makes the handler fail for the messages with these ids.
    """
    chair = product("chair")
    failing: set[int] = set()

    def record(batch: Sequence[ReceivedMessage]) -> None:
        if failing & {received.id for received in batch}:
            raise RuntimeError("the test lets this message fail")
        StockMovement.objects.bulk_create(
            StockMovement(
                movement_type=MovementType.RESERVED,
                product_id=chair,
                on_hand=0,
                reserved=0,
                message_id=received.id,
                created_at=timezone.now(),
            )
            for received in batch
        )

    recording = replace(subscriptions.subscription_of("stock"), handle=record)
    monkeypatch.setitem(subscriptions._subscriptions, "stock", recording)
    return failing.update


@pytest.fixture
def recording_consumer(failing_consumer: FailFor) -> None:
    """Make Stock record each message; the handler never fails."""


def handled() -> list[int]:
    """Return the ids of the handled messages, in the order of their handling."""
    return [row.message_id or 0 for row in StockMovement.objects.order_by("id")]


def publish_each(*messages: Message) -> list[int]:
    with transaction.atomic():
        return publish([OutgoingMessage(message=message) for message in messages])


def publish_for_keys(*keys: UUID) -> list[int]:
    """Publish one message for each key; return the ids."""
    return publish_each(*(ShipReservation(reservation_id=key) for key in keys))


# -- stock ---------------------------------------------------------------------------------------


def reservation_request(product_id: UUID) -> MakeReservation:
    return MakeReservation(
        reservation_id=uuid4(),
        revision=1,
        request_number=1,
        lines=(ProductQuantity(product_id=product_id, quantity=1),),
        priority=0,
        placed_at=timezone.now(),
    )


def adjustment(product_id: UUID) -> Adjustment:
    return Adjustment(product_id=product_id, quantity=1, reason="found")


def lock_stock_level(product_id: UUID) -> None:
    StockLevel.objects.select_for_update(no_key=True).get(product=product_id)
