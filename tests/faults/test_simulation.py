"""Whatever happens, in whichever order: what must hold holds after each step, and in the end every order has ended."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.simulation import Simulation

pytestmark = pytest.mark.django_db(transaction=True)

# STORIES=2000 tells many more of them than the usual run.
STORIES = int(os.environ.get("STORIES", "20"))
BUDGET = settings(max_examples=STORIES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


def test_whatever_happens() -> None:
    run_state_machine_as_test(Simulation, settings=BUDGET)
