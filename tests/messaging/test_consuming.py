import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import sleep
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from orderflow.messaging import consuming, subscriptions
from orderflow.messaging.consuming import drain
from orderflow.messaging.dead_letters import ReasonRequired, discard, replay
from orderflow.messaging.messages import ReceivedMessage, UnexpectedMessage
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.messaging.queries import NotSubscribed, has_handled
from orderflow.messaging.subscriptions import Subscription
from tests.messaging.sample_consumer import (
    CONSUMER,
    SampleConsumer,
    SampleEvent,
    effects,
    publish_texts,
)

AdvanceClock = Callable[[float], None]
WakeUps = list[tuple[str, float]]


class Failing:
    """A hook that fails the given number of times for each of these texts."""

    def __init__(self, times: int, *texts: str, error: type[Exception] = ValueError) -> None:
        self.left = dict.fromkeys(texts, times)
        self.error = error

    def __call__(self, message: SampleEvent) -> None:
        if self.left.get(message.text):
            self.left[message.text] -= 1
            raise self.error(f"cannot handle {message.text}")


def unexpected_once() -> Failing:
    """Fail for "bad" in its batch, and again in isolated mode; it is a dead letter then."""
    return Failing(2, "bad", error=UnexpectedMessage)


def dead_letter() -> QueuedMessage:
    return QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)


def unfinished_batches() -> int:
    return Consumer.objects.get(name=CONSUMER).unfinished_batches


# -- batches -------------------------------------------------------------------------------------


def test_batch_is_handled_together_and_in_order(consumer: SampleConsumer) -> None:
    texts = [f"{number:02}" for number in range(20)]
    publish_texts(uuid4(), *texts)
    assert drain(CONSUMER) == 20
    assert consumer.handled == texts
    assert consumer.batches == [20]
    assert not QueuedMessage.objects.exists()


def test_backlog_is_handled_batch_by_batch(consumer: SampleConsumer) -> None:
    publish_texts(uuid4(), *(f"{number:02}" for number in range(25)))
    drain(CONSUMER, batch=10)
    assert consumer.batches == [10, 10, 5]


@pytest.mark.local_only
def test_slow_handler_gets_smaller_batches(consumer: SampleConsumer, settings: Any) -> None:
    settings.ORDERFLOW_BATCH_SIZE = 100
    consumer.hook = lambda message: sleep(0.003)
    publish_texts(uuid4(), *(f"{number:03}" for number in range(200)))
    drain(CONSUMER)
    assert consumer.batches[0] == 100  # holds the write lock for 0.3 s instead of 0.1 s
    assert max(consumer.batches[1:]) <= 33
    assert sum(consumer.batches) == 200


def test_effects_and_deletion_commit_together(consumer: SampleConsumer) -> None:
    class ProcessEnd(BaseException):
        """No handler catches it."""

    def end_at_c(message: SampleEvent) -> None:
        if message.text == "c":
            raise ProcessEnd

    consumer.hook = end_at_c
    publish_texts(uuid4(), "a", "b", "c")
    with pytest.raises(ProcessEnd):
        drain(CONSUMER)
    assert effects() == []
    assert QueuedMessage.objects.count() == 3
    assert unfinished_batches() == 1
    consumer.hook = lambda message: None
    drain(CONSUMER)
    assert effects() == ["a", "b", "c"]


def test_drain_out_of_time_wakes_its_consumer(consumer: SampleConsumer, wake_ups: WakeUps) -> None:
    publish_texts(uuid4(), "hello")
    wake_ups.clear()
    drain(CONSUMER, seconds=-1.0)
    assert consumer.handled == []
    assert wake_ups == [(CONSUMER, 0.0)]


# -- failures ------------------------------------------------------------------------------------


def test_retried_message_keeps_the_order_of_its_key(
    consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    failing, other = uuid4(), uuid4()
    consumer.hook = Failing(4, "f1")  # in its batch, then three times in isolated mode
    publish_texts(failing, "f1", "f2")
    publish_texts(other, "o1")
    drain(CONSUMER)
    assert consumer.handled == ["o1"]
    for _ in range(2):
        advance_clock(10.0)
        drain(CONSUMER)
    publish_texts(failing, "f3")
    assert consumer.handled == ["o1"]
    assert QueuedMessage.objects.get(attempts=3).last_error == "ValueError: cannot handle f1"
    advance_clock(10.0)
    drain(CONSUMER)
    assert consumer.handled == ["o1", "f1", "f2", "f3"]


def test_failed_message_is_retried_with_growing_delays(
    consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    consumer.hook = Failing(99, "bad")
    publish_texts(uuid4(), "bad")
    delays = []
    for _ in range(consuming.MAX_ATTEMPTS - 1):
        drain(CONSUMER)
        delays.append((QueuedMessage.objects.get().due_at - timezone.now()).total_seconds())
        advance_clock(delays[-1])
    for delay, following in pairwise(delays):
        assert 1.2 * delay < following < 3.2 * delay  # doubled, with jitter


def test_failing_message_becomes_dead_letter_and_blocks_only_its_key(
    consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    consumer.hook = Failing(99, "bad")
    publish_texts(uuid4(), "bad", "blocked")
    for _ in range(consuming.MAX_ATTEMPTS):
        drain(CONSUMER)
        advance_clock(400.0)
    assert dead_letter().attempts == consuming.MAX_ATTEMPTS
    assert dead_letter().last_error == "ValueError: cannot handle bad"
    publish_texts(uuid4(), "other key")
    advance_clock(10_000.0)
    drain(CONSUMER)
    assert consumer.handled == ["other key"]


def test_unexpected_message_becomes_dead_letter_at_once(consumer: SampleConsumer) -> None:
    consumer.hook = unexpected_once()
    publish_texts(uuid4(), "bad")
    drain(CONSUMER)
    assert QueuedMessage.objects.get() == dead_letter()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"type": "tests.Unknown"}, "The message type tests.Unknown is unknown"),
        ({"payload": {"subject": "no id", "text": "bad"}}, "does not fit tests.SampleEvent"),
        ({"payload": {"subject": str(uuid4())}}, "missing required field `text`"),
    ],
    ids=["unknown type", "invalid field", "missing field"],
)
def test_undecodable_message_becomes_dead_letter_at_once(
    consumer: SampleConsumer, change: dict[str, object], error: str
) -> None:
    [message_id] = publish_texts(uuid4(), "bad")
    publish_texts(uuid4(), "good")
    StoredMessage.objects.filter(pk=message_id).update(**change)
    drain(CONSUMER)
    assert consumer.handled == ["good"]
    assert error in dead_letter().last_error


def test_unknown_payload_fields_are_ignored(consumer: SampleConsumer) -> None:
    [message_id] = publish_texts(uuid4(), "good")
    payload = StoredMessage.objects.get().payload
    StoredMessage.objects.filter(pk=message_id).update(payload={**payload, "new": "field"})
    drain(CONSUMER)
    assert consumer.handled == ["good"]


def test_random_failures_keep_the_order_within_each_key(
    consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    draw = random.Random(7)
    published: dict[UUID, list[str]] = {uuid4(): [] for _ in range(5)}
    for number in range(60):
        key = draw.choice(list(published))
        published[key].append(f"{number:02}")
        publish_texts(key, published[key][-1])

    def fail_sometimes(message: SampleEvent) -> None:
        if draw.random() < 0.15:
            raise ValueError("random failure")

    consumer.hook = fail_sometimes
    while QueuedMessage.objects.exists():
        drain(CONSUMER, batch=draw.randint(1, 20))
        QueuedMessage.objects.filter(status=QueuedMessageStatus.DEAD_LETTER).update(
            status=QueuedMessageStatus.PENDING, attempts=0
        )
        advance_clock(400.0)
    for texts in published.values():
        assert [text for text in consumer.handled if text in texts] == texts
    assert len(consumer.handled) == 60


def test_constraint_failing_at_commit_affects_only_its_message(consumer: SampleConsumer) -> None:
    def violate_foreign_key(message: SampleEvent) -> None:
        if message.text == "bad":
            QueuedMessage.objects.create(
                consumer="unknown", message_id=10**9, key=message.key, due_at=timezone.now()
            )

    consumer.hook = violate_foreign_key
    publish_texts(uuid4(), "bad")
    publish_texts(uuid4(), "good")
    drain(CONSUMER)
    assert consumer.handled == ["good"]
    assert "IntegrityError" in QueuedMessage.objects.get().last_error


# -- dead letters --------------------------------------------------------------------------------


def test_replayed_dead_letter_precedes_later_messages_of_its_key(
    consumer: SampleConsumer, wake_ups: WakeUps
) -> None:
    consumer.hook = unexpected_once()
    publish_texts(uuid4(), "bad", "blocked")
    drain(CONSUMER)
    replayed = dead_letter()
    wake_ups.clear()
    assert replay([replayed.pk], actor="Ada", reason="fixed") == 1
    assert wake_ups == [(CONSUMER, 0.0)]
    replayed.refresh_from_db()
    assert "Replayed by Ada" in replayed.resolution_log
    drain(CONSUMER)
    assert consumer.handled == ["bad", "blocked"]


def test_discarded_dead_letter_is_kept_and_unblocks_its_key(consumer: SampleConsumer) -> None:
    consumer.hook = Failing(99, "bad", error=UnexpectedMessage)
    publish_texts(uuid4(), "bad", "blocked")
    drain(CONSUMER)
    discarded = dead_letter()
    assert discard([discarded.pk], actor="Ada", reason="obsolete") == 1
    drain(CONSUMER)
    assert consumer.handled == ["blocked"]
    assert QueuedMessage.objects.get().status == QueuedMessageStatus.DISCARDED
    assert not has_handled(CONSUMER, discarded.message_id)


def test_discarded_message_can_be_replayed_once(consumer: SampleConsumer) -> None:
    consumer.hook = unexpected_once()
    publish_texts(uuid4(), "bad", "blocked")
    drain(CONSUMER)
    discarded = dead_letter()
    discard([discarded.pk], actor="Ada", reason="obsolete")
    drain(CONSUMER)
    assert replay([discarded.pk], actor="Ada", reason="needed") == 1
    drain(CONSUMER)
    assert consumer.handled == ["blocked", "bad"]
    assert replay([discarded.pk], actor="Ada", reason="repeated") == 0


@pytest.mark.parametrize("service", [replay, discard])
def test_rejects_replay_and_discard_without_reason(
    consumer: SampleConsumer, service: Callable[..., int]
) -> None:
    with pytest.raises(ReasonRequired, match="A reason is required"):
        service([1], actor="Ada", reason=" ")


def test_message_discarded_meanwhile_is_not_handled(
    consumer: SampleConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_texts(uuid4(), "hello")
    QueuedMessage.objects.update(attempts=1)
    count_attempt = consuming._count_attempt

    def discard_after_count(subscription: Subscription) -> QueuedMessage | None:
        queued = count_attempt(subscription)
        QueuedMessage.objects.update(status=QueuedMessageStatus.DISCARDED)
        return queued

    monkeypatch.setattr(consuming, "_count_attempt", discard_after_count)
    drain(CONSUMER)
    assert consumer.handled == []
    assert QueuedMessage.objects.get().status == QueuedMessageStatus.DISCARDED


# -- has_handled ---------------------------------------------------------------------------------


def test_has_handled_is_exact(consumer: SampleConsumer) -> None:
    [message_id] = publish_texts(uuid4(), "hello")
    assert not has_handled(CONSUMER, message_id)
    drain(CONSUMER)
    assert has_handled(CONSUMER, message_id)


def test_has_handled_rejects_unsubscribed_consumer(consumer: SampleConsumer) -> None:
    [message_id] = publish_texts(uuid4(), "hello")
    with pytest.raises(NotSubscribed, match=r"stock is not subscribed to tests\.SampleEvent"):
        has_handled("stock", message_id)


# -- non-transactional handlers ------------------------------------------------------------------


@pytest.fixture
def outside_effects(consumer: SampleConsumer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the handler non-transactional; return its effects outside the database."""
    effects: list[str] = []

    def handle(batch: Sequence[ReceivedMessage]) -> None:
        [received] = batch
        assert isinstance(received.message, SampleEvent)
        assert not connection.in_atomic_block
        attempts = QueuedMessage.objects.get(message=received.id).attempts
        effects.append(f"{received.message.text}, attempt {attempts}")
        consumer.hook(received.message)

    subscription = Subscription(
        consumer=CONSUMER, to=(SampleEvent,), handle=handle, transactional=False
    )
    monkeypatch.setitem(subscriptions._subscriptions, CONSUMER, subscription)
    return effects


def test_non_transactional_handler_gets_one_message_at_a_time(outside_effects: list[str]) -> None:
    publish_texts(uuid4(), "first", "second")
    drain(CONSUMER)
    assert outside_effects == ["first, attempt 1", "second, attempt 1"]
    assert not QueuedMessage.objects.exists()


def test_non_transactional_failure_is_retried_and_blocks_its_key(
    outside_effects: list[str], consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    consumer.hook = Failing(1, "first")
    publish_texts(uuid4(), "first", "second")
    drain(CONSUMER)
    assert outside_effects == ["first, attempt 1"]
    advance_clock(10.0)
    drain(CONSUMER)
    assert outside_effects == ["first, attempt 1", "first, attempt 2", "second, attempt 1"]


# -- isolated mode -------------------------------------------------------------------------------


def test_unfinished_batches_start_isolated_mode_for_one_drain(consumer: SampleConsumer) -> None:
    Consumer.objects.update_or_create(
        name=CONSUMER, defaults={"unfinished_batches": consuming.MAX_UNFINISHED_BATCHES}
    )
    publish_texts(uuid4(), "a", "b", "c")
    drain(CONSUMER)
    assert consumer.batches == [1, 1, 1]
    assert unfinished_batches() == 0
    publish_texts(uuid4(), "d", "e")
    drain(CONSUMER)
    assert consumer.batches == [1, 1, 1, 2]


def test_failing_message_does_not_start_isolated_mode(
    consumer: SampleConsumer, advance_clock: AdvanceClock
) -> None:
    consumer.hook = Failing(99, "bad")
    publish_texts(uuid4(), "bad")
    for _ in range(consuming.MAX_UNFINISHED_BATCHES + 2):
        drain(CONSUMER)
        assert unfinished_batches() == 0
        advance_clock(400.0)
    publish_texts(uuid4(), "a", "b", "c")
    consumer.batches.clear()
    drain(CONSUMER)
    assert 3 in consumer.batches


def test_failed_batch_does_not_count_as_unfinished(consumer: SampleConsumer) -> None:
    consumer.hook = Failing(1, "bad", error=RuntimeError)
    with transaction.atomic():
        publish_texts(uuid4(), "bad")
    drain(CONSUMER)
    assert unfinished_batches() == 0
