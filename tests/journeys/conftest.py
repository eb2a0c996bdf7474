"""Real worker and beat processes on the tests' database and broker, and waiting for what they do."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from orderflow.management import processes
from orderflow.messaging import waking
from tests.conftest import database_environment
from tests.nursery import Program, nursery

DEADLINE = 30.0  # seconds until something that should happen counts as not happening
# Seconds. Whoever does not stop at once is killed: that must do no harm either, and saves seconds in each test.
GRACE = 0.2


class Workshop:
    """Starts the product's own programs. They run until the test ends or, used as a context manager, until the block does."""

    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._stack = stack
        self.log = log
        self.programs: list[Program | subprocess.Popen[bytes]] = []  # all that were started, in that order

    def start(self, *commands: Sequence[str], **env: str) -> ExitStack:
        started = ExitStack()
        environment = {**database_environment(), **env}
        for command in commands:
            if "celery" in command:
                program = nursery(frozenset(environment.items())).start(command, self.log)
                started.callback(_stop, program)
                self.programs.append(program)
            else:
                self.programs += started.enter_context(processes.running(command, log=self.log, env=environment, grace=GRACE))
        return self._stack.enter_context(started)


def _stop(program: Program) -> None:
    program.terminate()
    try:
        program.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@pytest.fixture
def workshop(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setattr(waking, "_silent_until", 0.0)
    log = tmp_path / "log"
    with ExitStack() as stack:
        yield Workshop(stack, log)
    print(log.read_text() if log.exists() else "no program was started")


@pytest.fixture
def worker(workshop: Workshop) -> Workshop:
    """A worker and beat, as an installation has them."""
    workshop.start(processes.worker(), processes.beat())
    return workshop


def assert_eventually(condition: Callable[[], bool], *, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
        time.sleep(0.02)
