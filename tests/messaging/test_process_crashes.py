"""Real processes are killed while they drain."""

import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone

from orderflow.messaging import consuming
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus
from tests.conftest import database_environment
from tests.fork_server import fork_server
from tests.messaging.sample_consumer import CONSUMER, SampleConsumer, effects, publish_texts


@pytest.fixture
def drain_and_crash(tmp_path: Path) -> Callable[[str], None]:
    """Drain in a process that crashes "before" or "after" the commit, or "never"."""

    def start(when: str) -> None:
        server = fork_server(frozenset(database_environment().items()))
        command = [sys.executable, "-m", "tests.messaging.crashing_consumer", when]
        exit_code = server.run(command, tmp_path / "log")
        assert exit_code == (0 if when == "never" else -signal.SIGKILL)

    return start


def test_crash_before_commit_rolls_back_the_batch(
    consumer: SampleConsumer, drain_and_crash: Callable[[str], None]
) -> None:
    publish_texts(uuid4(), "first", "fatal", "last")
    drain_and_crash("before")
    assert effects() == []
    assert QueuedMessage.objects.count() == 3
    drain_and_crash("never")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()


def test_crash_after_commit_keeps_effects_and_deletion(
    consumer: SampleConsumer, drain_and_crash: Callable[[str], None]
) -> None:
    publish_texts(uuid4(), "first", "fatal", "last")
    drain_and_crash("after")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()
    publish_texts(uuid4(), "next")
    assert drain(CONSUMER) == 1


def test_repeated_crashes_start_isolated_mode(
    consumer: SampleConsumer, drain_and_crash: Callable[[str], None]
) -> None:
    fatal = uuid4()
    publish_texts(uuid4(), "first")
    publish_texts(fatal, "fatal", "blocked")
    publish_texts(uuid4(), "last")
    for _ in range(consuming.MAX_UNFINISHED_BATCHES):
        drain_and_crash("before")
        assert effects() == []
    # Isolated: "first" is committed, and the attempt of "fatal" is counted before the crash.
    drain_and_crash("before")
    assert effects() == ["first"]
    attempted = QueuedMessage.objects.filter(attempts=1)
    assert attempted.get().message.payload["text"] == "fatal"
    # Not due again while the next process starts.
    attempted.update(due_at=timezone.now() + timedelta(minutes=1))
    drain_and_crash("never")
    assert effects() == ["first", "last"]
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def test_poison_message_becomes_dead_letter_and_blocks_its_key(
    consumer: SampleConsumer, drain_and_crash: Callable[[str], None]
) -> None:
    publish_texts(uuid4(), "fatal", "blocked")
    QueuedMessage.objects.filter(message__payload__text="fatal").update(
        attempts=consuming.MAX_ATTEMPTS - 1
    )
    drain_and_crash("before")
    QueuedMessage.objects.update(due_at=timezone.now())
    drain(CONSUMER)
    dead_letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    assert dead_letter.last_error == (
        "Poison message: the worker process ended during attempt 8 of 8."
    )
    assert effects() == []
