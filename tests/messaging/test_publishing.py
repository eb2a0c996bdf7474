from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import transaction

from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.messaging.publishing import PublishedOutsideTransaction, publish
from orderflow.messaging.tasks import sweep
from tests.messaging.listener import CONSUMER, Listener, say


def test_a_message_is_stored_with_a_delivery_for_each_consumer(listener: Listener) -> None:
    [message_id] = say(uuid4(), "hello")
    assert StoredMessage.objects.get().pk == message_id
    assert list(QueuedMessage.objects.values_list("consumer", "message_id")) == [
        (CONSUMER, message_id)
    ]


def test_what_is_rolled_back_was_never_said(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        say(uuid4(), "hello")
        raise ZeroDivisionError
    assert not StoredMessage.objects.exists()
    assert woken == []


def test_it_rejects_publishing_outside_a_transaction(listener: Listener) -> None:
    with pytest.raises(PublishedOutsideTransaction, match="atomic"):
        publish([])


def test_consumers_are_woken_after_the_commit_and_not_before(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    with transaction.atomic():
        say(uuid4(), "hello")
        assert woken == []
    assert woken == [(CONSUMER, 0.0)]


def test_a_savepoint_rolled_back_between_two_publishes_takes_only_its_own_wake_up_along(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            say(uuid4(), "taken back", countdown=3.0)
            raise ZeroDivisionError
        say(uuid4(), "said")
    assert woken == [(CONSUMER, 0.0)]
    drain(CONSUMER)
    assert listener.heard == ["said"]


def test_a_timer_is_taken_when_it_is_due_and_holds_nothing_up(
    listener: Listener, later: Callable[[float], None]
) -> None:
    about = uuid4()
    say(about, "timer", countdown=10.0)
    say(about, "message")
    drain(CONSUMER)
    assert listener.heard == ["message"]
    later(10.0)
    drain(CONSUMER)
    assert listener.heard == ["message", "timer"]


def test_a_lost_wake_up_is_made_good_by_the_sweep(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    say(uuid4(), "hello")
    woken.clear()  # lost
    sweep()
    assert woken == [(CONSUMER, 0.0)]
    drain(CONSUMER)
    sweep()
    assert woken == [(CONSUMER, 0.0)]  # nobody is woken for nothing
