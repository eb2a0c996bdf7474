"""Real worker and beat processes on the test database and broker."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from orderflow.messaging import wakeups
from orderflow.operations.management import processes
from tests.conftest import database_environment
from tests.fork_server import Program, fork_server

DEADLINE = 30.0  # seconds
# Seconds until a process that does not stop is killed. Being killed must do no harm either, and a
# short time makes every test faster.
GRACE = 0.2


class ProcessRunner:
    """Starts the product's processes. They run until the test ends or the returned stack closes.

    `programs`: every started process, in order.
    """

    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._stack = stack
        self.log = log
        self.programs: list[Program] = []

    def start(self, *commands: Sequence[str], **env: str) -> ExitStack:
        started = ExitStack()
        server = fork_server(frozenset({**database_environment(), **env}.items()))
        for command in commands:
            program = server.start(command, self.log)
            started.callback(stop, program)
            self.programs.append(program)
        return self._stack.enter_context(started)


def stop(program: Program, grace: float = GRACE) -> None:
    program.terminate()
    try:
        program.wait(grace)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@pytest.fixture
def process_runner(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProcessRunner]:
    monkeypatch.setattr(wakeups, "_skip_broker_until", 0.0)
    log = tmp_path / "log"
    with ExitStack() as stack:
        yield ProcessRunner(stack, log)
    print(log.read_text() if log.exists() else "no process was started")


@pytest.fixture
def worker(process_runner: ProcessRunner) -> ProcessRunner:
    """A worker and beat, as in an installation."""
    process_runner.start(processes.worker(), processes.beat())
    return process_runner


def assert_eventually(condition: Callable[[], bool], *, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} seconds"
        time.sleep(0.02)
