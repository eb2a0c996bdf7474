"""Send wake-ups: Celery tasks without data.

An unavailable broker delays a process by about 0.5 s, at most once in 5 s.
"""

import logging
import threading
from time import monotonic
from typing import Any

from celery import Task, current_app
from kombu import Connection
from kombu.pools import producers

logger = logging.getLogger(__name__)

PUBLISH_TIMEOUT = 0.5  # seconds that an unavailable broker may delay a request
BROKER_RETRY_INTERVAL = 5.0  # seconds without wake-ups after a failure; the sweep wakes meanwhile
_TRANSPORT_OPTIONS = {
    "max_retries": 0,
    "socket_timeout": PUBLISH_TIMEOUT,
    "socket_connect_timeout": PUBLISH_TIMEOUT,
}

_lock = threading.Lock()
_skip_broker_until = 0.0
_connection: Connection | None = None


def wake(task: "Task[Any, Any]", *, countdown: float) -> bool:
    """Have a worker run `task` in `countdown` seconds; return whether the wake-up was sent.

    Never raises and never retries: the sweep finds what was not woken.
    """
    global _skip_broker_until
    if monotonic() < _skip_broker_until:
        return False
    try:
        pool = producers[_publisher_connection(task)]
        with pool.acquire(block=True, timeout=PUBLISH_TIMEOUT) as producer:
            task.apply_async(countdown=countdown, producer=producer, retry=False)
    except Exception as error:  # each broker client raises its own errors
        _skip_broker_until = monotonic() + BROKER_RETRY_INTERVAL
        logger.warning(
            "The broker is unavailable (%s); the sweep will start %s.", error, task.name
        )
        return False
    return True


def is_broker_available() -> bool:
    """Connect to the broker, for at most `PUBLISH_TIMEOUT` seconds, on a connection of its own."""
    try:
        with current_app.connection_for_write(
            connect_timeout=PUBLISH_TIMEOUT, transport_options=_TRANSPORT_OPTIONS
        ) as connection:
            # `connect()` would try again after two seconds.
            assert connection.default_channel
    except Exception:  # each broker client raises its own errors
        return False
    return True


def _publisher_connection(task: "Task[Any, Any]") -> Connection:
    """Return the connection for publishing; its timeouts are too short for a worker."""
    global _connection
    with _lock:
        if _connection is None:
            _connection = task.app.connection_for_write(
                connect_timeout=PUBLISH_TIMEOUT, transport_options=_TRANSPORT_OPTIONS
            )
        return _connection
