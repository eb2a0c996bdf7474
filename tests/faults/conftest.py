"""Workers that die where they are told to, and beat, on the tests' database and broker."""

import sys
from pathlib import Path
from uuid import UUID

import pytest

from orderflow.management import processes
from tests.journeys.conftest import Workshop, workshop

__all__ = ["HASTE", "Mortals", "mortals", "workshop"]

MORTAL = [sys.executable, "-m", "tests.faults.mortal"]
HASTE = {"ORDERFLOW_SWEEP": "0.2", "ORDERFLOW_FIRST_COUNTDOWN": "0.2", "DJANGO_SETTINGS_MODULE": "orderflow.settings"}


class Mortals:
    def __init__(self, workshop: Workshop, fates: Path) -> None:
        self._workshop = workshop
        self._fates = fates
        fates.mkdir()

    def destine(self, order: UUID, consumer: str, message: str, point: str, whom: str) -> None:
        (self._fates / f"{order} {consumer} {message} {point} {whom}").touch()

    def start(self) -> None:
        self._workshop.start(processes.beat(), MORTAL, FATES=str(self._fates), **HASTE)

    def still_to_die(self) -> list[str]:
        return sorted(fate.name for fate in self._fates.iterdir())


@pytest.fixture
def mortals(workshop: Workshop, tmp_path: Path) -> Mortals:
    return Mortals(workshop, tmp_path / "fates")
