"""Long jobs: written in batches, with a sign of life. Knows nothing of what is written."""

from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import TypeVar

from django.core.management.base import OutputWrapper
from django.db import connection

T = TypeVar("T")

EVERY = 1.0  # seconds between two signs of life on a terminal


class Progress:
    """A line that says how far a long job is, once a second, to a terminal; to anything else nothing."""

    def __init__(self, doing: str, stderr: OutputWrapper) -> None:
        self._doing = doing
        self._stderr = stderr
        self._next = monotonic() + EVERY
        self._shown = False

    def at(self, count: int) -> None:
        if monotonic() >= self._next and self._stderr.isatty():
            self._stderr.write(f"\r{self._doing}: {count:,}", style_func=str, ending="")
            self._stderr.flush()
            self._next = monotonic() + EVERY
            self._shown = True

    def done(self) -> None:
        if self._shown:
            self._stderr.write("")


def in_batches(items: Sequence[T], size: int, doing: str, stderr: OutputWrapper) -> Iterator[Sequence[T]]:
    """The items in slices, each to be written in a transaction of its own; others get their turn in between."""
    progress = Progress(doing, stderr)
    done = 0
    for batch in slices(items, size):
        began = monotonic()
        yield batch
        done += len(batch)
        progress.at(done)
        if connection.vendor == "sqlite" and done < len(items):
            sleep(monotonic() - began)  # SQLite's writers starve each other otherwise
    progress.done()


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
