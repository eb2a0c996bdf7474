"""A broker that is away holds nobody up."""

import socket
from collections.abc import Iterator
from time import monotonic

import pytest
from celery import Celery, Task

from orderflow.messaging import wakeups
from tests.servers import free_port


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "_skip_broker_until", 0.0)
    monkeypatch.setattr(wakeups, "_connection", None)
    monkeypatch.delenv(
        "CELERY_BROKER_URL", raising=False
    )  # Celery prefers it to what an application says


def _task(broker: str) -> "Task[[], None]":
    app = Celery("away", broker=broker, set_as_current=False)
    app.conf.broker_connection_timeout = 60

    @app.task(name="away.task")
    def task() -> None: ...

    return task


def _seconds_to_wake(task: "Task[[], None]") -> float:
    began = monotonic()
    assert not wakeups.wake(task, countdown=0.0)
    return monotonic() - began


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Somebody listens, takes the connection, and never says a word: a frozen server, a firewall."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_broker_that_is_down_costs_next_to_nothing(silence: None) -> None:
    assert _seconds_to_wake(_task(f"redis://127.0.0.1:{free_port()}/0")) < 1.0


def test_a_broker_that_is_frozen_costs_its_timeout_once_and_then_nothing_for_a_while(
    silence: None, deaf_port: int
) -> None:
    task = _task(f"redis://127.0.0.1:{deaf_port}/0")
    assert _seconds_to_wake(task) < 3 * wakeups.PUBLISH_TIMEOUT
    assert _seconds_to_wake(task) < 0.01
