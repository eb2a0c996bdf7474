"""Real processes, really killed."""

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
from tests.messaging.listener import CONSUMER, Listener, effects, say


def _drain_and_die(when: str) -> None:
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


def test_a_process_killed_before_the_commit_leaves_nothing_behind_and_the_next_one_does_it_once(
    listener: Listener,
) -> None:
    say(uuid4(), "first", "fatal", "last")
    _drain_and_die("before")
    assert effects() == []
    assert QueuedMessage.objects.count() == 3
    _drain_and_die("never")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()


def test_a_process_killed_right_after_the_commit_has_done_it_once_and_the_next_one_does_not_repeat_it(
    listener: Listener,
) -> None:
    say(uuid4(), "first", "fatal", "last")
    _drain_and_die("after")
    assert effects() == ["fatal", "first", "last"]
    assert not QueuedMessage.objects.exists()
    say(uuid4(), "afterwards")
    assert drain(CONSUMER) == 1


def test_a_message_that_kills_its_process_three_times_is_handled_alone_and_no_longer_stops_the_others(
    listener: Listener,
) -> None:
    fatal = uuid4()
    say(uuid4(), "first")
    say(fatal, "fatal", "behind it")
    say(uuid4(), "last")
    for _ in range(consuming.MAX_UNFINISHED_BATCHES):
        _drain_and_die("before")
        assert effects() == []
    _drain_and_die(
        "before"
    )  # now with care: what comes before it is committed, and its attempt was counted
    assert effects() == ["first"]
    assert QueuedMessage.objects.get(attempts=1).message.payload["text"] == "fatal"
    QueuedMessage.objects.filter(attempts=1).update(
        due_at=timezone.now() + timedelta(minutes=1)
    )  # however slow the next one starts
    _drain_and_die("never")
    assert effects() == ["first", "last"]  # its key is reserved, the others are handled
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def test_a_message_that_always_kills_its_process_ends_as_a_dead_letter(listener: Listener) -> None:
    say(uuid4(), "fatal", "behind it")
    QueuedMessage.objects.filter(message__payload__text="fatal").update(
        attempts=consuming.MAX_ATTEMPTS - 1
    )
    _drain_and_die("before")
    QueuedMessage.objects.update(due_at=timezone.now())  # time goes by
    drain(CONSUMER)
    letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    assert letter.last_error == "It ended the process each time it was tried."
    assert effects() == []  # what is behind it waits
