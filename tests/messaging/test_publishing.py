from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import transaction

from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.messaging.publishing import PublishedOutsideTransaction, publish
from orderflow.messaging.tasks import sweep
from tests.messaging.sample_consumer import CONSUMER, SampleConsumer, publish_texts

WakeUps = list[tuple[str, float]]


def test_message_is_stored_and_queued_for_each_consumer(consumer: SampleConsumer) -> None:
    [message_id] = publish_texts(uuid4(), "hello")
    assert StoredMessage.objects.get().pk == message_id
    queued = QueuedMessage.objects.values_list("consumer", "message_id")
    assert list(queued) == [(CONSUMER, message_id)]


def test_rolled_back_messages_are_not_published(
    consumer: SampleConsumer, wake_ups: WakeUps
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publish_texts(uuid4(), "hello")
        raise ZeroDivisionError
    assert not StoredMessage.objects.exists()
    assert wake_ups == []


def test_rejects_publishing_outside_a_transaction(consumer: SampleConsumer) -> None:
    with pytest.raises(PublishedOutsideTransaction, match="atomic"):
        publish([])


def test_consumers_are_woken_after_the_commit(consumer: SampleConsumer, wake_ups: WakeUps) -> None:
    with transaction.atomic():
        publish_texts(uuid4(), "hello")
        assert wake_ups == []
    assert wake_ups == [(CONSUMER, 0.0)]


def test_rolled_back_savepoint_removes_only_its_own_wake_up(
    consumer: SampleConsumer, wake_ups: WakeUps
) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish_texts(uuid4(), "rolled back", countdown=3.0)
            raise ZeroDivisionError
        publish_texts(uuid4(), "committed")
    assert wake_ups == [(CONSUMER, 0.0)]
    drain(CONSUMER)
    assert consumer.handled == ["committed"]


def test_scheduled_message_is_handled_when_due_and_blocks_nothing(
    consumer: SampleConsumer, advance_clock: Callable[[float], None]
) -> None:
    subject = uuid4()
    publish_texts(subject, "scheduled", countdown=10.0)
    publish_texts(subject, "immediate")
    drain(CONSUMER)
    assert consumer.handled == ["immediate"]
    advance_clock(10.0)
    drain(CONSUMER)
    assert consumer.handled == ["immediate", "scheduled"]


def test_sweep_replaces_a_lost_wake_up(consumer: SampleConsumer, wake_ups: WakeUps) -> None:
    publish_texts(uuid4(), "hello")
    wake_ups.clear()  # lost
    sweep()
    assert wake_ups == [(CONSUMER, 0.0)]
    drain(CONSUMER)
    sweep()
    assert wake_ups == [(CONSUMER, 0.0)]  # no message is due: no further wake-up
