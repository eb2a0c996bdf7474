"""The demo as a newcomer runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.conftest import assert_eventually

pytestmark = pytest.mark.embedded  # it always runs on it


def _demo(folder: Path) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    environment |= {"ORDERFLOW_VAR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _programs_of(folder: Path) -> list[str]:
    """The processes that were started with this folder, by their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"ORDERFLOW_VAR={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return found


def test_the_demo_tells_its_stories_ends_with_a_clean_audit_and_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = _demo(tmp_path)
    told, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, told
    assert told.count("→ delivered") == 5
    assert "2 × DESK, more to come" in told
    assert "SHELF   10 on hand, 0 reserved" in told
    assert "closed short: the rest will not come, by demo: sold out" in told
    assert "→ cancelled, by demo: found it elsewhere" in told
    assert told.rstrip().endswith("checks, none wrong.")
    assert _programs_of(tmp_path) == []


def test_the_demo_leaves_no_process_behind_on_ctrl_c(tmp_path: Path) -> None:
    demo = _demo(tmp_path)
    assert demo.stdout
    assert any("D-1001" in line for line in demo.stdout)
    programs = len(_programs_of(tmp_path))
    assert programs >= 3
    demo.send_signal(signal.SIGINT)
    assert_eventually(lambda: len(_programs_of(tmp_path)) < programs)
    demo.send_signal(signal.SIGINT)  # an impatient person
    demo.communicate(timeout=60)
    assert demo.returncode in (130, -signal.SIGINT)  # the second one may meet it when all is stopped already
    assert_eventually(lambda: _programs_of(tmp_path) == [])
