"""Real processes are killed while they drain."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from uuid import uuid4

from django.utils import timezone

from orderflow.messaging import consuming
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus
from tests.conftest import database_environment
from tests.messaging.sample_consumer import CONSUMER, SampleConsumer, effects, publish_texts


def _drain_and_crash(when: str) -> None:
    """Drain in a process that crashes "before" or "after" the commit, or "never"."""
    environment = {
        **os.environ,
        **database_environment(),
        "DJANGO_SETTINGS_MODULE": "orderflow.settings",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.messaging.crashing_consumer", when],
        env=environment,
        check=False,
    )
    assert ended.returncode == (0 if when == "never" else -signal.SIGKILL)


def test_crash_before_commit_rolls_back_the_batch(consumer: SampleConsumer) -> None:
    publish_texts(uuid4(), "first", "fatal", "last")
    _drain_and_crash("before")
    assert effects() == []
    assert QueuedMessage.objects.count() == 3
    _drain_and_crash("never")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()


def test_crash_after_commit_keeps_effects_and_deletion(consumer: SampleConsumer) -> None:
    publish_texts(uuid4(), "first", "fatal", "last")
    _drain_and_crash("after")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()
    publish_texts(uuid4(), "next")
    assert drain(CONSUMER) == 1


def test_repeated_crashes_start_isolated_mode(consumer: SampleConsumer) -> None:
    fatal = uuid4()
    publish_texts(uuid4(), "first")
    publish_texts(fatal, "fatal", "blocked")
    publish_texts(uuid4(), "last")
    for _ in range(consuming.MAX_UNFINISHED_BATCHES):
        _drain_and_crash("before")
        assert effects() == []
    # Isolated: "first" is committed, and the attempt of "fatal" is counted before the crash.
    _drain_and_crash("before")
    assert effects() == ["first"]
    attempted = QueuedMessage.objects.filter(attempts=1)
    assert attempted.get().message.payload["text"] == "fatal"
    # Not due again while the next process starts.
    attempted.update(due_at=timezone.now() + timedelta(minutes=1))
    _drain_and_crash("never")
    assert effects() == ["first", "last"]
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def test_poison_message_becomes_dead_letter_and_blocks_its_key(consumer: SampleConsumer) -> None:
    publish_texts(uuid4(), "fatal", "blocked")
    QueuedMessage.objects.filter(message__payload__text="fatal").update(
        attempts=consuming.MAX_ATTEMPTS - 1
    )
    _drain_and_crash("before")
    QueuedMessage.objects.update(due_at=timezone.now())
    drain(CONSUMER)
    dead_letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    assert dead_letter.last_error == (
        "Poison message: the worker process ended in each of 8 attempts."
    )
    assert effects() == []
