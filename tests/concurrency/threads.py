"""Run two calls at the same time, each in a thread with its own connection, and stop them exactly.

No test depends on timing: PostgreSQL itself says which connection waits for a lock.
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

TIMEOUT = 10.0  # seconds
Call = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """What the two calls returned, and whether the second waited for a lock of the first."""

    first: Any
    second: Any
    second_waited: bool


def meet(first: Call, second: Call, *, at: tuple[object, str]) -> Meeting:
    """Stop `first` before `at`, run `second` until it waits for a lock or ends, then finish both.

    `at`: a class or module, and the name of one of its functions.
    Raises the error of `first`, otherwise the error of `second`.
    """
    with _threads(first, second) as (ahead, behind), _stopped(ahead, *at):
        behind.run_until_blocked()
        waited = behind.is_alive()
    return Meeting(first=ahead.result(), second=behind.result(), second_waited=waited)


def run_behind_lock(first: Call, second: Call, *, lock: Call) -> None:
    """Run `lock` in a transaction that ends when first `first` and then `second` wait for a lock.

    Both keep what they locked until then, so they deadlock if they lock in different orders.
    Raises the error of either call.
    """
    with _threads(first, second) as threads, transaction.atomic():
        lock()
        for thread in threads:
            thread.run_until_blocked()
            assert thread.is_alive(), f"the call did not wait for the lock: {thread.result()}"
    for thread in threads:
        thread.result()


def rejected(error: type[Exception], call: Call) -> Call:
    """Return a call that expects `call` to raise `error`."""

    def run() -> None:
        with pytest.raises(error):
            call()

    return run


def without_locks(monkeypatch: pytest.MonkeyPatch, rows: type[QuerySet[Any]]) -> None:
    """Make `locked()` of this queryset lock nothing."""
    monkeypatch.setattr(rows, "locked", lambda self: self.order_by("pk"))


def without_row_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `select_for_update()` of every queryset lock nothing."""
    monkeypatch.setattr(QuerySet, "select_for_update", lambda rows, **_: rows)


def lock_in_opposite_orders(monkeypatch: pytest.MonkeyPatch, rows: type[QuerySet[Any]]) -> None:
    """Lock in ascending order the first time, in descending order the second time.

    A query without an ordering may return any order.
    """
    orderings = iter(["pk", "-pk"])

    def locked(self: QuerySet[Any]) -> QuerySet[Any]:
        return self.select_for_update(no_key=True, of=("self",)).order_by(next(orderings))

    monkeypatch.setattr(rows, "locked", locked)


class _Thread(threading.Thread):
    def __init__(self, call: Call) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._backend: int | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            [self._backend] = _row("SELECT pg_backend_pid()")
            self._result = self._call()
        except BaseException as error:
            self._error = error
        finally:
            connection.close()

    def run_until_blocked(self) -> None:
        """Start the thread; return when it waits for a lock or has ended."""
        self.start()
        _wait_until(lambda: self._waits_for_lock() or not self.is_alive())

    def result(self) -> Any:
        if self._error:
            raise self._error
        assert not self.is_alive(), "the call did not end"
        return self._result

    def _waits_for_lock(self) -> bool:
        [waits] = _row("SELECT cardinality(pg_blocking_pids(%s)) > 0", self._backend)
        return bool(waits)


@contextmanager
def _threads(*calls: Call) -> Iterator[list[_Thread]]:
    """Return threads that are joined after the block."""
    threads = [_Thread(call) for call in calls]
    try:
        yield threads
    finally:
        for thread in threads:
            if thread.ident is not None:  # the thread was started
                thread.join(TIMEOUT)


@contextmanager
def _stopped(thread: _Thread, owner: object, name: str) -> Iterator[None]:
    """Start the thread, and stop it during the block at its first call of this function."""
    reached, proceed = threading.Event(), threading.Event()
    original = getattr(owner, name)

    def stop(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is thread and not reached.is_set():
            reached.set()
            proceed.wait(TIMEOUT)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stop)
        thread.start()
        try:
            _wait_until(lambda: reached.is_set() or not thread.is_alive())
            assert reached.is_set(), f"the call ended before {name}: {thread.result()}"
            yield
        finally:
            proceed.set()


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"the condition was not met within {TIMEOUT} seconds"
        time.sleep(0.002)


def _row(query: str, *values: int | None) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
