"""The simulation keeps every invariant after each step, and at its end every order is closed."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test

from tests.fault_injection.simulation import Simulation

pytestmark = pytest.mark.django_db(transaction=True)


class IndependentRuns(HypothesisProvider):
    """Draws each run anew. Hypothesis would vary the previous run in most of these few runs."""


AVAILABLE_PROVIDERS["independent_runs"] = IndependentRuns
SETTINGS = settings(
    stateful_step_count=20,
    backend="independent_runs",
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_simulation_keeps_invariants() -> None:
    """Set ORDERFLOW_SIMULATION_RUNS to change the number of runs, for example to 2000."""
    runs = int(os.environ.get("ORDERFLOW_SIMULATION_RUNS", "8"))
    run_state_machine_as_test(Simulation, settings=settings(SETTINGS, max_examples=runs))
