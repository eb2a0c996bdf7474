"""An unavailable broker does not delay the sender of a wake-up."""

import socket
from collections.abc import Iterator
from time import monotonic

import pytest
from celery import Celery, Task

from orderflow.messaging import wakeups
from tests.servers import free_port


@pytest.fixture(autouse=True)
def no_broker_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the outages and the connection of earlier tests."""
    monkeypatch.setattr(wakeups, "_skip_broker_until", 0.0)
    monkeypatch.setattr(wakeups, "_connection", None)
    # Celery prefers the variable to the URL of the application.
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)


def _task(broker: str) -> "Task[[], None]":
    app = Celery("unavailable", broker=broker, set_as_current=False)
    app.conf.broker_connection_timeout = 60

    @app.task(name="unavailable.task")
    def task() -> None: ...

    return task


def _seconds_to_wake(task: "Task[[], None]") -> float:
    began = monotonic()
    assert not wakeups.wake(task, countdown=0.0)
    return monotonic() - began


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never responds, like a frozen server or a firewall."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_stopped_broker_does_not_delay_the_sender() -> None:
    assert _seconds_to_wake(_task(f"redis://127.0.0.1:{free_port()}/0")) < 1.0


def test_frozen_broker_delays_only_the_first_wake_up(silent_port: int) -> None:
    task = _task(f"redis://127.0.0.1:{silent_port}/0")
    assert _seconds_to_wake(task) < 3 * wakeups.PUBLISH_TIMEOUT
    assert _seconds_to_wake(task) < 0.01
