"""A pytest plugin that chooses the backends of the tests, before Django reads its settings.

bin/test --backends local      SQLite and the filesystem broker, in a temporary folder (default)
bin/test --backends servers    private PostgreSQL and Redis servers on free ports
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Self

import psycopg
import pytest
import redis

_cleanup = ExitStack()
atexit.register(_cleanup.close)  # also when pytest ends before its tests begin
_missing: list[str] = []
SERVERS: dict[str, "Server"] = {}  # those that the tests run on


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backends",
        choices=["local", "servers"],
        default="local",
        help="SQLite and the filesystem broker, or PostgreSQL and Redis",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(
        _cleanup.enter_context(
            tempfile.TemporaryDirectory(prefix="orderflow-tests-", ignore_cleanup_errors=True)
        )
    )
    folder.chmod(0o755)
    os.environ["ORDERFLOW_DATA_DIR"] = str(folder)
    os.environ["ORDERFLOW_SWEEP_INTERVAL"] = "1"
    os.environ["ORDERFLOW_SECRET_KEY"] = "secret key of the tests"
    for inherited in ("DATABASE_URL", "CELERY_BROKER_URL"):
        os.environ.pop(inherited, None)
    if early_config.known_args_namespace.backends == "servers":
        _missing.extend(
            program for program in ("initdb", "postgres", "redis-server") if not _program(program)
        )
        if not _missing:
            SERVERS["postgresql"] = postgresql(folder / "postgresql").start(_cleanup)
            SERVERS["redis"] = redis_server(folder / "redis").start(_cleanup)
            os.environ["DATABASE_URL"] = SERVERS["postgresql"].url
            os.environ["CELERY_BROKER_URL"] = SERVERS["redis"].url
    return (yield)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """End pytest as after Ctrl-C, so that the servers are stopped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_unconfigure() -> None:
    _cleanup.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _missing:
        reason = f"not installed: {', '.join(_missing)}"
        if os.environ.get("CI"):
            pytest.exit(f"{reason}. In CI a skipped test is a failure.", returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
    selected = _runs_on_servers if config.getoption("backends") == "servers" else _runs_locally
    config.hook.pytest_deselected(items=[item for item in items if not selected(item)])
    items[:] = [item for item in items if selected(item)]


def _runs_locally(item: pytest.Item) -> bool:
    return not item.get_closest_marker("postgresql_only")


def _runs_on_servers(item: pytest.Item) -> bool:
    """Tests without a database run only once, on the local backends."""
    if item.get_closest_marker("postgresql_only"):
        return True
    uses_database = item.get_closest_marker("django_db") or {"db", "transactional_db"} & {
        *getattr(item, "fixturenames", ())
    }
    return bool(uses_database) and not item.get_closest_marker("local_only")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure, except test_northwind: its data is not committed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report.nodeid for report in reporter.stats.get("skipped", ())] if reporter else []
    if os.environ.get("CI") and any("test_northwind" not in nodeid for nodeid in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Server:
    """A private server on a free port. It can be stopped and restarted with the same data."""

    def __init__(
        self,
        url: str,
        command: list[str],
        *,
        log: Path,
        probe: Callable[[], object],
        user: str | None = None,
    ) -> None:
        self.url = url
        self._command = command
        self._log = log
        self._probe = probe
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cleanup: ExitStack) -> Self:
        """Start the server, and stop it when `cleanup` closes."""
        cleanup.callback(self.stop, signal.SIGINT)  # PostgreSQL: fast shutdown
        self._launch()
        return self

    def stop(self, stop_signal: signal.Signals) -> None:
        """Stop the server with a signal; SIGQUIT stops PostgreSQL without a checkpoint."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(stop_signal)
            self._process.wait()
            self._process = None

    @contextmanager
    def stopped(self, stop_signal: signal.Signals) -> Iterator[None]:
        """Stop the server during the block, and restart it afterwards."""
        self.stop(stop_signal)
        try:
            yield
        finally:
            self._launch()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the server during the block: connections stay open, requests get no reply."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _launch(self) -> None:
        with self._log.open("ab") as output:
            if self._user:
                shutil.chown(self._log, self._user)
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                user=self._user,
                cwd=self._log.parent,
                start_new_session=True,
            )
        wait_until(self._probe, (psycopg.OperationalError, redis.ConnectionError))


def postgresql(folder: Path) -> Server:
    """Return a PostgreSQL server with its own data, not started yet."""
    port = free_port()
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    options = [f"--pgdata={data}", "--username=orderflow", "--auth=trust", "--encoding=UTF8"]
    subprocess.run(
        [_program("initdb"), *options, "--no-locale", "--no-sync"],
        check=True,
        user=user,
        capture_output=True,
        cwd=folder,
    )
    options = [
        "--listen_addresses=127.0.0.1",
        f"--unix_socket_directories={folder}",
        "--log_min_messages=fatal",
    ]
    command = [_program("postgres"), "-D", str(data), "-p", str(port), *options]
    url = f"postgresql://orderflow@127.0.0.1:{port}/postgres"
    probe = partial(_ask_postgresql, url)
    return Server(url, command, log=folder / "log", probe=probe, user=user)


def redis_server(folder: Path) -> Server:
    """Return a Redis server with an append-only file, not started yet."""
    port = free_port()
    folder.mkdir()
    settings = folder / "redis.conf"
    settings.write_text(f'port {port}\nbind 127.0.0.1\ndir {folder}\nappendonly yes\nsave ""\n')
    command = [_program("redis-server"), str(settings)]
    return Server(
        f"redis://127.0.0.1:{port}/0", command, log=folder / "log", probe=partial(_ask_redis, port)
    )


def _ask_postgresql(url: str) -> None:
    psycopg.connect(url, connect_timeout=2).close()


def _ask_redis(port: int) -> None:
    with redis.Redis(port=port) as client:
        client.ping()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    attempt: Callable[[], object],
    error: type[Exception] | tuple[type[Exception], ...],
    *,
    seconds: float = 30,
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()
            return
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _program(name: str) -> str:
    """Return the path of a program, or an empty string if it is not installed.

    Debian does not put the programs of PostgreSQL on the PATH.
    """
    if found := shutil.which(name):
        return found
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])
    )
    return str(versions[-1]) if versions else ""
