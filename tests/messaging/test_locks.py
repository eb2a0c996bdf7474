"""What only real threads on PostgreSQL can show."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import connection, transaction

from orderflow.catalog.models import Product
from orderflow.messaging import consuming
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Consumer, QueuedMessage
from tests.messaging.listener import CONSUMER, Listener, Noted, say

pytestmark = pytest.mark.postgresql_only


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in another thread with its own connection, while the block runs; an error of it is raised here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_what_is_published_while_another_drains_is_taken_by_the_look_after_the_release(
    listener: Listener,
) -> None:
    # Seen to fail with a drain that looks only once: "second" stays behind.
    handling, released = threading.Event(), threading.Event()

    def wait_in_the_first(message: Noted) -> None:
        if message.text == "first":
            handling.set()
            assert released.wait(30)

    listener.misbehave = wait_in_the_first
    say(uuid4(), "first")
    with _beside(lambda: drain(CONSUMER)):
        assert handling.wait(30)
        say(uuid4(), "second")
        assert drain(CONSUMER) == 0  # its wake-up finds the consumer taken, and ends
        released.set()
    assert listener.heard == ["first", "second"]


def test_a_deadlock_is_nobodys_fault_and_counts_no_attempt(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen to fail with a kernel that counts every error: the delivery has an attempt and waits.
    Product.objects.create(sku="one", name="1")
    Product.objects.create(sku="two", name="2")
    mine, theirs = threading.Event(), threading.Event()
    repeated: list[str] = []
    monkeypatch.setattr(consuming.logger, "info", lambda text, *args: repeated.append(text % args))

    def lock_one_then_two(message: Noted) -> None:
        _lock("one")
        if not repeated:
            mine.set()
            assert theirs.wait(30)
        _lock("two")

    @transaction.atomic
    def lock_two_then_one() -> None:
        _patience("60s")
        assert mine.wait(30)
        _lock("two")
        theirs.set()
        _lock("one")

    listener.misbehave = lock_one_then_two
    with connection.cursor() as cursor:
        cursor.execute(
            "SET deadlock_timeout = '20ms'"
        )  # so that we are the one whom PostgreSQL chooses
    say(uuid4(), "hello")
    with _beside(lock_two_then_one):
        drain(CONSUMER)
    assert listener.heard == ["hello"]
    assert len(repeated) >= 1
    assert "deadlock" in repeated[0]
    assert not QueuedMessage.objects.exists()
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def test_a_lost_connection_is_nobodys_fault_and_the_batch_is_repeated(listener: Listener) -> None:
    lost: list[int] = []

    def lose_the_connection_once(message: Noted) -> None:
        if not lost:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                lost.append(cursor.fetchone()[0])
            with _beside(lambda: _end_session(lost[0])):
                pass

    listener.misbehave = lose_the_connection_once
    say(uuid4(), "hello")
    drain(CONSUMER)
    assert lost
    assert listener.heard == ["hello"]
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def _lock(sku: str) -> None:
    Product.objects.select_for_update().get(sku=sku)


def _patience(time: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL deadlock_timeout = '{time}'")


def _end_session(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
