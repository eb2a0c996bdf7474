"""The web as `start` runs it."""

import socket
import urllib.request
from contextlib import ExitStack

from orderflow.management import processes
from tests.journeys.conftest import Workshop, assert_eventually


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_connections_that_say_nothing_hold_nobody_up(workshop: Workshop) -> None:
    # Seen to fail: with workers that serve one connection each, the page does not come for half a minute.
    port = _free_port()
    workshop.start(processes.web(address=f"127.0.0.1:{port}"))
    assert_eventually(lambda: _answers(port))
    with ExitStack() as stack:
        for _ in range(4):  # a browser opens some to spare
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert _answers(port)
