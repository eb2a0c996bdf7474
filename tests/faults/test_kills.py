"""Real processes, killed by SIGKILL at each step of the loop; the order ends as it should, once."""

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from orderflow.messaging.models import Delivery
from orderflow.messaging.queries import is_quiet
from purchase.models import PurchaseOrder
from purchase.services import Arrival, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import NewOrder, cancel_orders, place_orders
from stock.models import StockMovement
from tests.conftest import database_environment, lines, product
from tests.faults.conftest import HASTE, Mortals
from tests.faults.invariants import all_is_well, every_order_has_ended
from tests.journeys.conftest import assert_eventually
from tests.journeys.shop import put_on_the_shelf

pytestmark = pytest.mark.django_db(transaction=True)

SERVED = [
    ("stock", "stock.MakeReservation"),
    ("sales", "stock.ReservationRejected"),
    ("purchase", "purchase.CreatePurchaseOrder"),
    ("stock", "purchase.GoodsReceived"),
    ("sales", "purchase.GoodsReceived"),
    ("sales", "sales.RetryReservation"),
    ("sales", "stock.ReservationAccepted"),
    ("stock", "stock.ShipReservation"),
]
CANCELLED = [
    ("stock", "stock.ReleaseReservation"),
    ("purchase", "purchase.CancelPurchaseOrder"),
]
POINTS = ["begun", "before-commit", "after-commit"]
PATIENCE = 90.0  # seconds; each death costs a part of a second


# The embedded default's pool are threads: who kills one kills the worker.
@pytest.mark.parametrize("whom", [pytest.param("child", marks=pytest.mark.postgresql), "worker"])
def test_whoever_is_killed_at_whichever_step_every_order_ends_once(mortals: Mortals, whom: str) -> None:
    served = [_destined(mortals, step, point, whom, number) for number, (step, point) in enumerate(_each(SERVED))]
    cancelled = [_destined(mortals, step, point, whom, 100 + number) for number, (step, point) in enumerate(_each(CANCELLED))]
    mortals.start()
    everything = [*served, *cancelled]
    assert_eventually(lambda: _in("awaiting_goods_received") == len(everything), seconds=PATIENCE)
    assert_eventually(lambda: PurchaseOrder.objects.count() == len(everything), seconds=PATIENCE)
    cancel_orders(cancelled, by="Ada")
    mine = OrderStatus.objects.filter(order__in=served).values_list("purchase_order_id", flat=True)
    receive_goods([Arrival(purchase_order_id=each) for each in mine if each])
    assert_eventually(lambda: _in("delivered") == len(served), seconds=PATIENCE)
    assert_eventually(is_quiet, seconds=PATIENCE)
    assert mortals.still_to_die() == []
    assert not Delivery.objects.exists()
    assert StockMovement.objects.filter(kind="shipped").count() == len(served)
    assert set(PurchaseOrder.objects.values_list("status", flat=True)) == {"received", "cancelled"}
    all_is_well()
    every_order_has_ended()


@pytest.mark.parametrize(("when", "placed"), [("before", False), ("after", True)])
def test_a_customer_killed_at_the_commit_has_placed_an_order_or_has_not(mortals: Mortals, when: str, placed: bool) -> None:
    put_on_the_shelf("CHAIR", 1)
    order = uuid4()
    command = [sys.executable, "-m", "tests.faults.customer", when, str(order), str(product("CHAIR"))]
    ended = subprocess.run(command, env={**os.environ, **HASTE, **database_environment()}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert SalesOrder.objects.filter(id=order).exists() == placed
    if placed:
        mortals.start()  # nobody was woken: the sweep finds it
        assert_eventually(lambda: _in("delivered") == 1)
        assert_eventually(is_quiet)
    all_is_well()


def _each(steps: list[tuple[str, str]]) -> list[tuple[tuple[str, str], str]]:
    return [(step, point) for step in steps for point in POINTS]


def _destined(mortals: Mortals, step: tuple[str, str], point: str, whom: str, number: int) -> UUID:
    """An order of its own product, which has to be bought, with a death on its way."""
    order = uuid4()
    put_on_the_shelf(f"CHAIR-{number}", 1)
    mortals.destine(order, *step, point, whom)
    place_orders([NewOrder(id=order, lines=lines(**{f"CHAIR-{number}": 2}))])
    return order


def _in(state: str) -> int:
    return OrderStatus.objects.filter(state=state).count()
