"""Let a request wait for a result (long poll)."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

MAX_WAIT_SECONDS = 25  # shorter than the timeouts of usual proxies and clients
MAX_WAITING_REQUESTS = 4  # of one web process; its other threads serve other requests
_POLL_INTERVAL = 0.2  # seconds
_BUSY_DELAY = 0.1  # seconds

_slots = threading.BoundedSemaphore(MAX_WAITING_REQUESTS)


def poll_until(read: Callable[[], Result], *, seconds: float) -> Result:
    """Call `read` until its result is not empty or the time is over; return the last result.

    If `MAX_WAITING_REQUESTS` wait already, wait only `_BUSY_DELAY`: a client that asks again at
    once does not keep the process busy.
    """
    result = read()
    if result or not seconds:
        return result
    if not _slots.acquire(blocking=False):
        time.sleep(_BUSY_DELAY)
        return read()
    try:
        until = time.monotonic() + seconds
        while not result and time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
            result = read()
        return result
    finally:
        _slots.release()
