"""bin/chaos, for a moment. The long runs are for people; see the README."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.fault_injection.chaos import KINDS, plan

pytestmark = pytest.mark.postgresql_only


def test_the_same_seed_draws_the_same_faults() -> None:
    assert list(islice(plan(7), 50)) == list(islice(plan(7), 50))
    assert list(islice(plan(7), 50)) != list(islice(plan(8), 50))
    assert {fault.movement_type for fault in islice(plan(7), 100)} == set(KINDS)


def test_nothing_is_lost_and_nothing_is_doubled(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    command = [
        sys.executable,
        "-m",
        "tests.fault_injection.chaos",
        "--orders",
        "400",
        "--seed",
        "9",
        "--json",
        str(file),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = json.loads(file.read_text())
    assert (
        table["orders"],
        table["delivered"],
        table["lost"],
        table["doubled"],
        table["audit"],
    ) == (400, 400, 0, 0, [])
    assert table["faults"].keys() == set(KINDS)
    assert sum(table["faults"].values()) >= 3
    assert 0 < table["recovery_p50"] <= table["recovery_p99"]
    assert "400 orders placed" in ended.stdout
