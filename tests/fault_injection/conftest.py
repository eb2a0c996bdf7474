"""Workers that die where they are told to, and beat, on the tests' database and broker."""

import sys
from pathlib import Path
from uuid import UUID

import pytest

from orderflow.operations.management import processes
from tests.end_to_end.conftest import ProcessRunner

__all__ = ["HASTE", "CrashingWorkers", "mortals", "process_runner"]

MORTAL = [sys.executable, "-m", "tests.fault_injection.crashing_worker"]
HASTE = {
    "ORDERFLOW_SWEEP_INTERVAL": "0.2",
    "ORDERFLOW_RETRY_COUNTDOWN": "0.2",
    "DJANGO_SETTINGS_MODULE": "orderflow.settings",
}


class CrashingWorkers:
    def __init__(self, process_runner: ProcessRunner, fates: Path) -> None:
        self._workshop = process_runner
        self._fates = fates
        fates.mkdir()

    def schedule_crash(
        self, order: UUID, consumer: str, message: str, point: str, whom: str
    ) -> None:
        (self._fates / f"{order} {consumer} {message} {point} {whom}").touch()

    def start(self) -> None:
        self._workshop.start(processes.beat(), MORTAL, FATES=str(self._fates), **HASTE)

    def still_to_die(self) -> list[str]:
        return sorted(fate.name for fate in self._fates.iterdir())


@pytest.fixture
def mortals(process_runner: ProcessRunner, tmp_path: Path) -> CrashingWorkers:
    return CrashingWorkers(process_runner, tmp_path / "fates")
