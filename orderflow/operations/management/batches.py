"""Process long lists in batches and show the progress."""

from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import TypeVar

from django.core.management.base import OutputWrapper
from django.db import connection

T = TypeVar("T")

PROGRESS_INTERVAL = 1.0  # seconds between two updates


class Progress:
    """A progress line on a terminal, updated once a second. Writes nothing to files and pipes."""

    def __init__(self, label: str, stderr: OutputWrapper) -> None:
        self._label = label
        self._stderr = stderr
        self._next_update = monotonic() + PROGRESS_INTERVAL
        self._started = False

    def update(self, count: int) -> None:
        if monotonic() >= self._next_update and self._stderr.isatty():
            self._stderr.write(f"\r{self._label}: {count:,}", style_func=str, ending="")
            self._stderr.flush()
            self._next_update = monotonic() + PROGRESS_INTERVAL
            self._started = True

    def finish(self) -> None:
        if self._started:
            self._stderr.write("")


def in_batches(
    items: Sequence[T], size: int, label: str, stderr: OutputWrapper
) -> Iterator[Sequence[T]]:
    """Yield the items in batches and show the progress; the caller writes each in a transaction.

    On SQLite, pause after each batch for as long as it took: otherwise other writers starve.
    """
    progress = Progress(label, stderr)
    count = 0
    for batch in slices(items, size):
        started_at = monotonic()
        yield batch
        count += len(batch)
        progress.update(count)
        if connection.vendor == "sqlite" and count < len(items):
            sleep(monotonic() - started_at)
    progress.finish()


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
