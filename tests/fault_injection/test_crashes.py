"""Real processes, killed by SIGKILL at each step of the loop; the order ends as it should, once."""

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from orderflow.messaging.models import QueuedMessage
from orderflow.messaging.queries import is_idle
from purchase.models import PurchaseOrder
from purchase.services import ReceiptDraft, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from stock.models import StockMovement
from tests.conftest import database_environment, lines, product
from tests.end_to_end.conftest import assert_eventually
from tests.end_to_end.helpers import add_stock
from tests.fault_injection.conftest import HASTE, CrashingWorkers
from tests.fault_injection.invariants import assert_invariants, every_order_has_ended

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
    ("purchase", "purchase.WithdrawPurchaseOrder"),
]
POINTS = ["begun", "before-commit", "after-commit"]
PATIENCE = 90.0  # seconds; each death costs a part of a second


# The embedded default's pool are threads: who kills one kills the worker.
@pytest.mark.parametrize(
    "whom", [pytest.param("child", marks=pytest.mark.postgresql_only), "worker"]
)
def test_whoever_is_killed_at_whichever_step_every_order_ends_once(
    mortals: CrashingWorkers, whom: str
) -> None:
    served = [
        _destined(mortals, step, point, whom, number)
        for number, (step, point) in enumerate(_each(SERVED))
    ]
    cancelled = [
        _destined(mortals, step, point, whom, 100 + number)
        for number, (step, point) in enumerate(_each(CANCELLED))
    ]
    mortals.start()
    everything = [*served, *cancelled]
    assert_eventually(lambda: _in("awaiting_goods_received") == len(everything), seconds=PATIENCE)
    assert_eventually(lambda: PurchaseOrder.objects.count() == len(everything), seconds=PATIENCE)
    cancel_orders(cancelled, actor="Ada")
    mine = OrderStatus.objects.filter(order__in=served).values_list("purchase_order_id", flat=True)
    receive_goods([ReceiptDraft(purchase_order_id=each) for each in mine if each])
    assert_eventually(lambda: _in("delivered") == len(served), seconds=PATIENCE)
    assert_eventually(is_idle, seconds=PATIENCE)
    assert mortals.still_to_die() == []
    assert not QueuedMessage.objects.exists()
    assert StockMovement.objects.filter(movement_type="shipped").count() == len(served)
    assert set(PurchaseOrder.objects.values_list("status", flat=True)) == {"received", "cancelled"}
    assert_invariants()
    every_order_has_ended()


@pytest.mark.parametrize(("when", "placed"), [("before", False), ("after", True)])
def test_a_customer_killed_at_the_commit_has_placed_an_order_or_has_not(
    mortals: CrashingWorkers, when: str, placed: bool
) -> None:
    add_stock("CHAIR", 1)
    order = uuid4()
    command = [
        sys.executable,
        "-m",
        "tests.fault_injection.crashing_client",
        when,
        str(order),
        str(product("CHAIR")),
    ]
    ended = subprocess.run(
        command, env={**os.environ, **HASTE, **database_environment()}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert SalesOrder.objects.filter(id=order).exists() == placed
    if placed:
        mortals.start()  # nobody was woken: the sweep finds it
        assert_eventually(lambda: _in("delivered") == 1)
        assert_eventually(is_idle)
    assert_invariants()


def _each(steps: list[tuple[str, str]]) -> list[tuple[tuple[str, str], str]]:
    return [(step, point) for step in steps for point in POINTS]


def _destined(
    mortals: CrashingWorkers, step: tuple[str, str], point: str, whom: str, number: int
) -> UUID:
    """An order of its own product, which has to be bought, with a death on its way."""
    order = uuid4()
    add_stock(f"CHAIR-{number}", 1)
    mortals.schedule_crash(order, *step, point, whom)
    place_orders([SalesOrderDraft(id=order, lines=lines(**{f"CHAIR-{number}": 2}))])
    return order


def _in(status: str) -> int:
    return OrderStatus.objects.filter(status=status).count()
