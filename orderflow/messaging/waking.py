"""Rings the alarm clock: sends a Celery task that carries no data. A broker that is away holds nobody up."""

import logging
import threading
from time import monotonic
from typing import Any

from celery import Task, current_app
from kombu import Connection
from kombu.pools import producers

logger = logging.getLogger(__name__)

PUBLISH_TIMEOUT = 0.5  # seconds a request may lose to a broker that is away
SILENCE = 5.0  # seconds without another try after a failure; the sweep delivers meanwhile
_AT_ONCE = {
    "max_retries": 0,
    "socket_timeout": PUBLISH_TIMEOUT,
    "socket_connect_timeout": PUBLISH_TIMEOUT,
}

_lock = threading.Lock()
_silent_until = 0.0
_connection: Connection | None = None


def wake(task: "Task[Any, Any]", *, countdown: float) -> bool:
    """Have a worker run `task` in `countdown` seconds. Never raises, never retries: whether it was sent is only speed."""
    global _silent_until
    if monotonic() < _silent_until:
        return False
    try:
        with producers[_broker(task)].acquire(block=True, timeout=PUBLISH_TIMEOUT) as producer:
            task.apply_async(countdown=countdown, producer=producer, retry=False)
    except Exception as error:  # whatever a broker's client raises: the order is safe, the sweep finds it
        _silent_until = monotonic() + SILENCE
        logger.warning("The broker is away (%s); the sweep will wake %s.", error, task.name)
        return False
    return True


def broker_answers() -> bool:
    """Asks it now, for as long as `PUBLISH_TIMEOUT` at most, on a connection of its own."""
    try:
        with current_app.connection_for_write(connect_timeout=PUBLISH_TIMEOUT, transport_options=_AT_ONCE) as connection:
            assert connection.default_channel  # `connect()` would try again after two seconds
    except Exception:  # whatever a broker's client raises
        return False
    return True


def _broker(task: "Task[Any, Any]") -> Connection:
    """The publisher's own connection, with timeouts that a worker's long polls could not live with."""
    global _connection
    with _lock:
        if _connection is None:
            _connection = task.app.connection_for_write(connect_timeout=PUBLISH_TIMEOUT, transport_options=_AT_ONCE)
        return _connection
