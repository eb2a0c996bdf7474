"""Two acts at once, for certain: in real threads, each on its own connection, that meet where a test wants them to.

Nothing here sleeps and hopes: who waits for a lock is asked of PostgreSQL itself.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet

DEADLINE = 10.0  # seconds until something that should happen counts as not happening
Act = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """What two acts returned, and whether the second had to wait for the first."""

    first: Any
    second: Any
    second_waited: bool


def meet(first: Act, second: Act, *, at: tuple[object, str]) -> Meeting:
    """Run `first` until it is about to call `at`; then `second`, until it waits for a lock or is through; then both to the end.

    `at` is a class or module and the name of a function in it. Raises what either raised: the first's error, if both did.
    """
    with _threads(first, second) as (ahead, behind), _stopped(ahead, *at):
        behind.go_as_far_as_possible()
        waited = behind.is_alive()
    return Meeting(first=ahead.result(), second=behind.result(), second_waited=waited)


def pile_up(first: Act, second: Act, *, holding: Act) -> None:
    """Do `holding` in a transaction that ends only when `first`, and then `second`, wait for a lock: behind it, or each other.

    So each keeps what it locked on its way there, which is what a deadlock is made of. Raises what either raised.
    """
    with _threads(first, second) as threads, transaction.atomic():
        holding()
        for thread in threads:
            thread.go_as_far_as_possible()
            assert thread.is_alive(), f"it did not come across what is held: {thread.result()}"
    for thread in threads:
        thread.result()


def refused(error: type[Exception], act: Act) -> Act:
    """`act`, but it has to raise `error`."""

    def be_refused() -> None:
        with pytest.raises(error):
            act()

    return be_refused


def without_locks(monkeypatch: pytest.MonkeyPatch, rows: type[QuerySet[Any]]) -> None:
    """Take away what `locked()` is for, and nothing else."""
    monkeypatch.setattr(rows, "locked", lambda self: self.order_by("pk"))


def without_row_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's rows are locked before they are changed."""
    monkeypatch.setattr(QuerySet, "select_for_update", lambda rows, **_: rows)


def locked_in_opposite_orders(monkeypatch: pytest.MonkeyPatch, rows: type[QuerySet[Any]]) -> None:
    """Lock upwards the first time and downwards the second: a query that names no order may get any."""
    orders = iter(["pk", "-pk"])
    monkeypatch.setattr(rows, "locked", lambda self: self.select_for_update(no_key=True, of=("self",)).order_by(next(orders)))


class _Thread(threading.Thread):
    def __init__(self, act: Act) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._backend: int | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            [self._backend] = _row("SELECT pg_backend_pid()")
            self._result = self._act()
        except BaseException as error:
            self._error = error
        finally:
            connection.close()

    def go_as_far_as_possible(self) -> None:
        """Start it, and come back when it waits for a lock or has ended."""
        self.start()
        _until(lambda: self._waits_for_a_lock() or not self.is_alive())

    def result(self) -> Any:
        if self._error:
            raise self._error
        assert not self.is_alive(), "it never ended"
        return self._result

    def _waits_for_a_lock(self) -> bool:
        [waits] = _row("SELECT cardinality(pg_blocking_pids(%s)) > 0", self._backend)
        return bool(waits)


@contextmanager
def _threads(*acts: Act) -> Iterator[list[_Thread]]:
    """Threads that have ended when this block has, or never will."""
    threads = [_Thread(act) for act in acts]
    try:
        yield threads
    finally:
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join(DEADLINE)


@contextmanager
def _stopped(thread: _Thread, owner: object, name: str) -> Iterator[None]:
    """Start `thread`, and hold it inside this block where it calls this function for the first time."""
    reached, go_on = threading.Event(), threading.Event()
    original = getattr(owner, name)

    def stop(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is thread and not reached.is_set():
            reached.set()
            go_on.wait(DEADLINE)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stop)
        thread.start()
        try:
            _until(lambda: reached.is_set() or not thread.is_alive())
            assert reached.is_set(), f"it ended before it came to {name}: {thread.result()}"
            yield
        finally:
            go_on.set()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {DEADLINE} seconds"
        time.sleep(0.002)


def _row(query: str, *values: int | None) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
