"""A pytest plugin: on which database and broker the tests run.

    bin/test --on embedded     SQLite and the filesystem broker, in a temporary folder (the default)
    bin/test --on servers      PostgreSQL and Redis: private servers on free ports, started here and stopped at the end

It works before Django reads its settings, and knows nothing of what is tested.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis

_cleanup = ExitStack()
atexit.register(_cleanup.close)  # also when pytest ends before its tests begin
_missing: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--on", choices=["embedded", "servers"], default="embedded", help="SQLite and files, or PostgreSQL and Redis"
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    folder = Path(_cleanup.enter_context(tempfile.TemporaryDirectory(prefix="orderflow-tests-", ignore_cleanup_errors=True)))
    folder.chmod(0o755)
    os.environ["ORDERFLOW_VAR"] = str(folder)
    os.environ["ORDERFLOW_SWEEP"] = "1"
    for inherited in ("DATABASE_URL", "CELERY_BROKER_URL"):
        os.environ.pop(inherited, None)
    if early_config.known_args_namespace.on == "servers":
        _missing.extend(program for program in ("initdb", "postgres", "redis-server") if not _program(program))
        if not _missing:
            os.environ["DATABASE_URL"] = start_postgresql(folder / "postgresql", _cleanup)
            os.environ["CELERY_BROKER_URL"] = start_redis(folder / "redis", _cleanup)
    return (yield)


def pytest_unconfigure() -> None:
    _cleanup.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _missing:
        reason = f"not installed: {', '.join(_missing)}"
        if os.environ.get("CI"):
            pytest.exit(f"{reason}. In CI a skipped test is a failure.", returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
    unwanted = "postgresql" if config.getoption("on") == "embedded" else "embedded"
    elsewhere = {item for item in items if item.get_closest_marker(unwanted)}
    items[:] = [item for item in items if item not in elsewhere]
    config.hook.pytest_deselected(items=list(elsewhere))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure; but for the one whose data is not part of the project."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report.nodeid for report in reporter.stats.get("skipped", ())] if reporter else []
    if os.environ.get("CI") and any("test_northwind" not in nodeid for nodeid in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def start_postgresql(folder: Path, cleanup: ExitStack) -> str:
    """A private PostgreSQL with its own data; returns its URL. It is stopped when `cleanup` closes."""
    port = free_port()
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [_program("initdb"), "-D", data, "-U", "orderflow", "-A", "trust", "-E", "UTF8", "--locale", "C"],
        check=True,
        user=user,
        capture_output=True,
        cwd=folder,
    )
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "log_min_messages=fatal"]
    _run([_program("postgres"), "-D", str(data), "-p", str(port), *options], cleanup, user=user, log=folder / "log", cwd=folder)
    url = f"postgresql://orderflow@127.0.0.1:{port}/postgres"
    wait_until(lambda: psycopg.connect(url, connect_timeout=2).close(), psycopg.OperationalError)
    return url


def start_redis(folder: Path, cleanup: ExitStack, port: int | None = None) -> str:
    """A private Redis that keeps an append-only file; returns its URL. It is stopped when `cleanup` closes."""
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    _run([_program("redis-server"), *options], cleanup, log=folder / "log")
    client = redis.Redis(port=port)
    wait_until(client.ping, redis.ConnectionError)
    client.close()
    return f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(attempt: Callable[[], object], error: type[Exception], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()
            return
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _run(command: list[str], cleanup: ExitStack, *, log: Path, user: str | None = None, cwd: Path | None = None) -> None:
    with log.open("ab") as output:
        if user:
            shutil.chown(log, user)
        process = subprocess.Popen(command, stdout=output, stderr=output, user=user, cwd=cwd)
    cleanup.callback(process.wait)
    cleanup.callback(lambda: process.send_signal(2))  # PostgreSQL: end the sessions, then stop in good order


def _program(name: str) -> str:
    """Where a server's program is; Debian keeps PostgreSQL's out of the path. Empty: it is not installed."""
    if found := shutil.which(name):
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(versions[-1]) if versions else ""
