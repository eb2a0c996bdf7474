"""Workers that crash at given points, and beat, on the test database and broker."""

import sys
from pathlib import Path
from uuid import UUID

import pytest

from orderflow.operations.management import processes
from tests.end_to_end.conftest import ProcessRunner, process_runner

__all__ = ["SHORT_INTERVALS", "CrashingWorkers", "crashing_workers", "process_runner"]

SHORT_INTERVALS = {
    "ORDERFLOW_SWEEP_INTERVAL": "0.2",
    "ORDERFLOW_RETRY_COUNTDOWN": "0.2",
    "DJANGO_SETTINGS_MODULE": "orderflow.settings",
}


class CrashingWorkers:
    """A worker that restarts after each crash. A scheduled crash is a file in a folder."""

    def __init__(self, process_runner: ProcessRunner, crashes: Path) -> None:
        self._process_runner = process_runner
        self._crashes = crashes
        crashes.mkdir()

    def schedule_crash(
        self, sales_order_id: UUID, consumer: str, message_type: str, point: str, victim: str
    ) -> None:
        name = f"{sales_order_id} {consumer} {message_type} {point} {victim}"
        (self._crashes / name).touch()

    def start(self) -> None:
        module = "tests.fault_injection.crashing_worker"
        worker = [sys.executable, "-m", module, str(self._crashes)]
        self._process_runner.start(processes.beat(), worker, **SHORT_INTERVALS)

    def remaining(self) -> list[str]:
        return sorted(crash.name for crash in self._crashes.iterdir())


@pytest.fixture
def crashing_workers(process_runner: ProcessRunner, tmp_path: Path) -> CrashingWorkers:
    return CrashingWorkers(process_runner, tmp_path / "crashes")
