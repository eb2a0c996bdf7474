"""Waits for something to happen, while a request waits for it (a long poll)."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LONGEST_WAIT = 25  # seconds: less than proxies and clients give a request
MOST_WAITING = 4  # requests of one web process: the others' threads are for those who want something done
_PAUSE = 0.2  # seconds between two looks
_MOMENT = 0.1

_places = threading.BoundedSemaphore(MOST_WAITING)


def wait_for(look: Callable[[], Found], *, seconds: float) -> Found:
    """What `look` finds; it looks again and again until that is something, or the time is over.

    Where too many wait already, it waits for a moment only, so that whoever asks again at once does not ask all the time.
    """
    found = look()
    if found or not seconds:
        return found
    if not _places.acquire(blocking=False):
        time.sleep(_MOMENT)
        return look()
    try:
        until = time.monotonic() + seconds
        while not found and time.monotonic() < until:
            time.sleep(_PAUSE)
            found = look()
        return found
    finally:
        _places.release()
