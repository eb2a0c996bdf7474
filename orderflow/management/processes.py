"""Starts the programs that Orderflow consists of, and leaves none behind. Used by `start`, `demo` and the tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

GRACE = 20.0  # seconds that a program may take to finish what it is doing
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CELERY = [sys.executable, "-m", "celery", "--app", "orderflow", "--quiet"]


def worker(*, queues: Sequence[str] = ()) -> list[str]:
    """A Celery worker that takes from these queues; from all where none is named."""
    chosen = ["--queues", ",".join(queues)] if queues else []
    return [*_CELERY, "worker", "--without-gossip", "--without-mingle", *chosen]


def beat() -> list[str]:
    """Celery's clock. A process of its own: a worker's `-B` leaves it behind when the worker is killed."""
    return [*_CELERY, "beat", "--pidfile", ""]


def web(*, address: str) -> list[str]:
    """With threads: browsers open connections to spare, and one that says nothing must not hold up the others.

    Loaded before it forks: wrong settings end it at once, instead of each of its workers.
    """
    serving = ["--preload", "--workers", "2", "--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "10"]
    return [sys.executable, "-m", "gunicorn", "orderflow.wsgi", "--bind", address, *serving, "--log-level", "warning"]


@contextmanager
def running(
    *commands: Sequence[str], log: Path | None = None, env: Mapping[str, str] | None = None, grace: float = GRACE
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run programs beside this one, and stop them however the block is left: by its end, an error, Ctrl-C or SIGTERM."""
    with ExitStack() as stack:
        stack.enter_context(terminated_like_interrupted())
        output = stack.enter_context(log.open("ab")) if log else None
        programs: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: _stop(programs, grace))
        for command in commands:
            programs.append(_start(command, output, env))
        yield programs


def _start(command: Sequence[str], output: IO[bytes] | None, env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches only us, and we stop the programs in good order.
    return subprocess.Popen(  # noqa: S603  # our own commands
        command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True
    )


def _stop(programs: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of them behind
    for program in programs:
        program.terminate()
    for program in programs:
        try:
            program.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ends = [each for each in _ENDS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]  # nohup means it
    before = {each: signal.signal(each, interrupt) for each in ends}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
