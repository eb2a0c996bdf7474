"""The web process, as `start` runs it."""

import socket
import urllib.request
from contextlib import ExitStack

from orderflow.operations.management import processes
from tests.end_to_end.conftest import ProcessRunner, assert_eventually


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _responds(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_idle_connections_block_no_request(process_runner: ProcessRunner) -> None:
    # Fails with workers that serve one connection each: the response takes 30 s.
    port = _free_port()
    process_runner.start(processes.web(address=f"127.0.0.1:{port}"))
    assert_eventually(lambda: _responds(port))
    with ExitStack() as stack:
        for _ in range(4):  # browsers open spare connections
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert _responds(port)
