"""Start and stop the processes of Orderflow. Used by `start`, `demo` and the tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

GRACE = 20.0  # seconds between SIGTERM and SIGKILL
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CELERY = [sys.executable, "-m", "celery", "--app", "orderflow", "--quiet"]
# Loaded before it forks: invalid settings then end the web process, not each of its workers.
_GUNICORN = [sys.executable, "-m", "gunicorn", "orderflow.wsgi", "--preload"]
# Threads: browsers open spare connections, and an idle connection must not block a worker.
_GUNICORN_THREADS = ["--workers", "2", "--worker-class", "gthread", "--threads", "8"]


def worker(*, queues: Sequence[str] = ()) -> list[str]:
    """Return the command of a Celery worker for these queues; by default for all queues."""
    selected = ["--queues", ",".join(queues)] if queues else []
    return [*_CELERY, "worker", "--without-gossip", "--without-mingle", *selected]


def beat() -> list[str]:
    """Return the command of Celery beat.

    A process of its own: after a worker with the option `-B` is killed, its beat keeps running.
    """
    return [*_CELERY, "beat", "--pidfile", ""]


def web(*, address: str) -> list[str]:
    """Return the command of the web server at `host:port`."""
    stopping = ["--graceful-timeout", "10", "--log-level", "warning"]
    return [*_GUNICORN, *_GUNICORN_THREADS, *stopping, "--bind", address]


@contextmanager
def running(
    *commands: Sequence[str],
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run processes during the block; stop them at its end, after an error, Ctrl-C or SIGTERM."""
    with ExitStack() as stack:
        stack.enter_context(sigterm_as_interrupt())
        output = stack.enter_context(log.open("ab")) if log else None
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: _stop(processes, grace))
        for command in commands:
            processes.append(_start(command, output, env))
        yield processes


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on SIGTERM and SIGHUP, too; `nohup` still ignores SIGHUP."""

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handled = [
        each
        for each in _STOP_SIGNALS
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN
    ]
    previous = {each: signal.signal(each, interrupt) for each in handled}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _start(
    command: Sequence[str], output: IO[bytes] | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C reaches only this process, which then stops the others.
    return subprocess.Popen(  # noqa: S603  # only commands of this module
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )


def _stop(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    for each in _STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the stopping
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
