"""Start Python processes in 0.1 s instead of 2 s: fork them from a process that has loaded Django.

    python -m tests.fork_server     reads requests as lines of JSON, and responds with a line each

Each process has a session and a log of its own. When the fork server ends, its processes end.
"""

import atexit
import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.core.checks import run_checks

from orderflow.celery import app

PR_SET_PDEATHSIG = 1


@cache
def fork_server(env: frozenset[tuple[str, str]]) -> "ForkServer":
    """Return the fork server of an environment: the settings are read when it loads."""
    return ForkServer(dict(env))


class ForkServer:
    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", __name__]
        environment = {**os.environ, **env}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        atexit.register(self._process.communicate)  # it ends when its input ends

    def start(self, command: Sequence[str], log: Path) -> "Program":
        """Start `python -m MODULE ARGUMENTS`; `command` has exactly this form."""
        python, option, module, *arguments = command
        assert (python, option) == (sys.executable, "-m"), command
        return Program(self, self.ask("start", module, arguments, str(log)))

    def run(self, command: Sequence[str], log: Path) -> int:
        """Start a process like `start`, and return its exit code."""
        return self.start(command, log).wait()

    def ask(self, *request: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


class Program:
    """The part of `subprocess.Popen` that the tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask("poll", self.pid)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Raises: `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), seconds or 0.0)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def main() -> None:
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    load()
    response: int | None
    for line in sys.stdin:
        match json.loads(line):
            case ["start", module, arguments, log]:
                response = os.fork() or _run(module, arguments, log)
            case ["poll", pid]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                response = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(response), file=responses, flush=True)


def load() -> None:
    """Load what the processes load before they begin to work."""
    for module in (
        "celery.apps.beat",
        "celery.apps.worker",
        "celery.bin.celery",
        "celery.concurrency.prefork",
        "celery.concurrency.thread",
        "gunicorn.app.wsgiapp",
        "gunicorn.workers.gthread",
    ):
        import_module(module)
    django.setup()
    app.loader.import_default_modules()
    assert app.connection_for_write().transport  # loads the transport
    run_checks()


def end_with_parent() -> None:
    """Have this process killed when its parent ends, however that happens. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(module: str, arguments: Sequence[str], log: str) -> int:
    end_with_parent()
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
