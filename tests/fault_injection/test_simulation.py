"""Whatever happens, in whichever order: what must hold holds after each step, and in the end every order has ended."""

import os

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test

from tests.fault_injection.simulation import Simulation

pytestmark = pytest.mark.django_db(transaction=True)


class Unrelated(HypothesisProvider):
    """Draws each story anew. Hypothesis by itself makes most of so few by changing the one before a little."""


AVAILABLE_PROVIDERS["unrelated"] = Unrelated
BUDGET = settings(
    max_examples=20
    if connection.vendor == "sqlite"
    else 12,  # on PostgreSQL each takes twice as long
    stateful_step_count=20,
    backend="unrelated",
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens() -> None:
    """ORDERFLOW_SIMULATION_RUNS=2000 tells many more of them than the usual run."""
    stories = int(os.environ.get("ORDERFLOW_SIMULATION_RUNS", BUDGET.max_examples))
    run_state_machine_as_test(Simulation, settings=settings(BUDGET, max_examples=stories))
