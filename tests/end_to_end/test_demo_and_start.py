"""The commands `demo` and `start`, run as by a new user."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import assert_eventually
from tests.servers import free_port

pytestmark = pytest.mark.local_only


def _manage(data_dir: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
    }
    environment |= {"ORDERFLOW_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _processes_of(data_dir: Path) -> list[str]:
    """Return the command lines of the processes that use this data directory."""
    setting = f"ORDERFLOW_DATA_DIR={data_dir}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if setting in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # the process has ended
            continue
    return found


def test_demo_shows_every_scenario_and_stops_all_processes(tmp_path: Path) -> None:
    demo = _manage(tmp_path, "demo")
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert output.count("→ delivered") == 5
    assert "2 × DESK, not final" in output
    assert "BENCH   10 on hand, 0 reserved" in output
    assert "closed short, by demo: sold out" in output
    assert "→ cancelled, by demo: ordered from another shop" in output
    assert output.rstrip().endswith("invariants checked, 0 violated.")
    assert _processes_of(tmp_path) == []


def test_ctrl_c_stops_all_processes_of_the_demo(tmp_path: Path) -> None:
    demo = _manage(tmp_path, "demo")
    assert demo.stdout
    assert any("D-1001" in line for line in demo.stdout)
    count = len(_processes_of(tmp_path))
    assert count >= 3
    demo.send_signal(signal.SIGINT)
    assert_eventually(lambda: len(_processes_of(tmp_path)) < count)
    demo.send_signal(signal.SIGINT)  # while the processes are being stopped
    demo.communicate(timeout=60)
    # The second signal may arrive after everything was stopped.
    assert demo.returncode in (130, -signal.SIGINT)
    assert_eventually(lambda: _processes_of(tmp_path) == [])


def test_start_runs_until_ctrl_c_and_rejects_a_used_port(tmp_path: Path) -> None:
    port = str(free_port())
    start = _manage(tmp_path, "start", "--port", port)
    assert start.stdout
    text = next(line for line in start.stdout if "is running" in line)
    assert re.search(rf":{port}/admin/\. Log in as admin with the password \S+\.", text), text
    assert len(_processes_of(tmp_path)) >= 4

    second = _manage(tmp_path, "start", "--port", port)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used: Address already in use." in output

    start.send_signal(signal.SIGINT)
    output, _ = start.communicate(timeout=60)
    assert start.returncode == 0, output
    assert output.endswith("Stopped.\n")
    assert_eventually(lambda: _processes_of(tmp_path) == [])
