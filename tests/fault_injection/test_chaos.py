"""A short chaos test. `bin/chaos` runs longer ones."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.fault_injection.chaos import KINDS, plan

pytestmark = pytest.mark.postgresql_only


def test_seed_determines_the_faults() -> None:
    assert list(islice(plan(7), 50)) == list(islice(plan(7), 50))
    assert list(islice(plan(7), 50)) != list(islice(plan(8), 50))
    assert {fault.kind for fault in islice(plan(7), 100)} == set(KINDS)


def test_chaos_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    options = ["--orders", "250", "--seed", "9", "--json", str(file)]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fault_injection.chaos", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(file.read_text())
    assert (result["orders"], result["delivered"]) == (250, 250)
    assert (result["lost"], result["duplicates"], result["violations"]) == (0, 0, [])
    assert result["faults"].keys() == set(KINDS)
    assert sum(result["faults"].values()) >= 3
    assert 0 < result["recovery_p50"] <= result["recovery_p99"]
    assert "250 orders placed" in ended.stdout
