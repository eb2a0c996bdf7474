"""Locks and transient errors, with threads on PostgreSQL."""

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
from tests.messaging.sample_consumer import CONSUMER, SampleConsumer, SampleEvent, publish_texts

pytestmark = pytest.mark.postgresql_only


@contextmanager
def _in_another_thread(call: Callable[[], object]) -> Iterator[None]:
    """Run `call` on its own connection during the block. Raises the error of the call."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
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


def test_message_published_during_a_drain_is_handled_by_it(consumer: SampleConsumer) -> None:
    # Fails if the drain does not look again after it has released the lock.
    handling, proceed = threading.Event(), threading.Event()

    def wait_in_first(message: SampleEvent) -> None:
        if message.text == "first":
            handling.set()
            assert proceed.wait(30)

    consumer.hook = wait_in_first
    publish_texts(uuid4(), "first")
    with _in_another_thread(lambda: drain(CONSUMER)):
        assert handling.wait(30)
        publish_texts(uuid4(), "second")
        assert drain(CONSUMER) == 0  # the consumer is locked
        proceed.set()
    assert consumer.handled == ["first", "second"]


def test_deadlock_is_transient_and_counts_no_attempt(
    consumer: SampleConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fails if every error counts as an attempt: the message is then blocked.
    Product.objects.create(sku="one", name="1")
    Product.objects.create(sku="two", name="2")
    one_is_locked, two_is_locked = threading.Event(), threading.Event()
    log: list[str] = []
    monkeypatch.setattr(consuming.logger, "info", lambda text, *args: log.append(text % args))

    def lock_one_then_two(message: SampleEvent) -> None:
        _lock("one")
        if not log:
            one_is_locked.set()
            assert two_is_locked.wait(30)
        _lock("two")

    @transaction.atomic
    def lock_two_then_one() -> None:
        _execute("SET LOCAL deadlock_timeout = '60s'")
        assert one_is_locked.wait(30)
        _lock("two")
        two_is_locked.set()
        _lock("one")

    consumer.hook = lock_one_then_two
    # The shorter timeout makes PostgreSQL cancel the drain's transaction.
    _execute("SET deadlock_timeout = '20ms'")
    publish_texts(uuid4(), "hello")
    with _in_another_thread(lock_two_then_one):
        drain(CONSUMER)
    assert consumer.handled == ["hello"]
    assert "deadlock" in log[0]
    assert not QueuedMessage.objects.exists()
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def test_lost_connection_is_transient_and_repeats_the_batch(consumer: SampleConsumer) -> None:
    ended: list[int] = []

    def end_session_once(message: SampleEvent) -> None:
        if not ended:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ended.append(cursor.fetchone()[0])
            with _in_another_thread(lambda: _execute("SELECT pg_terminate_backend(%s)", ended[0])):
                pass

    consumer.hook = end_session_once
    publish_texts(uuid4(), "hello")
    drain(CONSUMER)
    assert ended
    assert consumer.handled == ["hello"]
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0


def _lock(sku: str) -> None:
    Product.objects.select_for_update().get(sku=sku)


def _execute(sql: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
