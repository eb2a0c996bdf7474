"""Celery's programs, started in a tenth of a second instead of two: forked from a process that has loaded all they need.

    python -m tests.nursery     takes requests as lines of JSON, and answers each with a line

A test does not see the difference: each program has a session, a log and a life of its own. When the nursery ends, or is
killed, so does what was born in it.
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
def nursery(env: frozenset[tuple[str, str]]) -> "Nursery":
    """One for each environment: what is loaded has read its settings."""
    return Nursery(dict(env))


class Nursery:
    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", __name__]
        environment = {**os.environ, **env}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        atexit.register(self._process.communicate)  # the end of what it reads is the end of it

    def start(self, command: Sequence[str], log: Path) -> "Program":
        """`command` is one of `orderflow.management.processes`, for Celery."""
        return Program(self, self.ask("start", list(command[3:]), str(log)))

    def ask(self, *request: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


class Program:
    """As much of a `subprocess.Popen` as is needed."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask("poll", self.pid)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Raises `subprocess.TimeoutExpired`."""
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
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    load()
    answer: int | None
    for line in sys.stdin:
        match json.loads(line):
            case ["start", arguments, log]:
                answer = os.fork() or _live(arguments, log)
            case ["poll", pid]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(answer), file=answers, flush=True)


def load() -> None:
    """What `celery worker` and `celery beat` load until they begin to work."""
    for program in ("apps.beat", "apps.worker", "bin.celery", "concurrency.prefork", "concurrency.thread"):
        import_module(f"celery.{program}")
    django.setup()
    app.loader.import_default_modules()
    assert app.connection_for_write().transport  # the broker's module
    run_checks()


def die_with_the_parent() -> None:
    """Linux only: however the parent ends, no program is left behind for the next test."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _live(arguments: Sequence[str], log: str) -> int:
    die_with_the_parent()
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    sys.argv = ["celery", *arguments]
    runpy.run_module("celery", run_name="__main__")
    os._exit(0)


if __name__ == "__main__":
    main()
