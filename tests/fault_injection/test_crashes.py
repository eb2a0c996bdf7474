"""Real processes are killed by SIGKILL at each step of the flow. Every order is closed, once."""

import signal
import sys
from itertools import product as combinations
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from orderflow.messaging.queries import is_idle
from purchase.models import PurchaseOrder
from purchase.services import ReceiptDraft, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from stock.models import StockMovement
from tests.conftest import add_stock, database_environment, lines, product
from tests.end_to_end.conftest import assert_eventually
from tests.end_to_end.helpers import order_count
from tests.fault_injection.conftest import SHORT_INTERVALS, CrashingWorkers
from tests.fault_injection.invariants import assert_every_order_is_closed, assert_invariants
from tests.fork_server import fork_server

pytestmark = pytest.mark.django_db(transaction=True)

# Consumer and message of each step.
DELIVERY_STEPS = [
    ("stock", "stock.MakeReservation"),
    ("sales", "stock.ReservationRejected"),
    ("purchase", "purchase.CreatePurchaseOrder"),
    ("stock", "purchase.GoodsReceived"),
    ("sales", "purchase.GoodsReceived"),
    ("sales", "sales.RetryReservation"),
    ("sales", "stock.ReservationAccepted"),
    ("stock", "stock.ShipReservation"),
]
CANCELLATION_STEPS = [
    ("stock", "stock.ReleaseReservation"),
    ("purchase", "purchase.WithdrawPurchaseOrder"),
]
POINTS = ["begun", "before-commit", "after-commit"]
TIMEOUT = 90.0  # seconds; each crash costs up to a second


# Locally the worker has one process with a thread: there is no child to kill.
@pytest.mark.parametrize(
    "victim", [pytest.param("child", marks=pytest.mark.postgresql_only), "worker"]
)
def test_crash_at_any_step_has_no_lasting_effect(
    crashing_workers: CrashingWorkers, victim: str
) -> None:
    delivered = [
        _place_with_crash(crashing_workers, step, point, victim)
        for step, point in combinations(DELIVERY_STEPS, POINTS)
    ]
    cancelled = [
        _place_with_crash(crashing_workers, step, point, victim)
        for step, point in combinations(CANCELLATION_STEPS, POINTS)
    ]
    count = len(delivered) + len(cancelled)

    crashing_workers.start()
    assert_eventually(lambda: order_count("awaiting_goods_received") == count, seconds=TIMEOUT)
    assert_eventually(lambda: PurchaseOrder.objects.count() == count, seconds=TIMEOUT)
    cancel_orders(cancelled, actor="Ada")
    awaiting = OrderStatus.objects.filter(order__in=delivered)
    awaited = awaiting.values_list("purchase_order_id", flat=True)
    receive_goods([ReceiptDraft(purchase_order_id=each) for each in awaited if each])

    assert_eventually(lambda: order_count("delivered") == len(delivered), seconds=TIMEOUT)
    assert_eventually(is_idle, seconds=TIMEOUT)
    # The crash after the last commit follows what makes the conditions above true.
    assert_eventually(lambda: crashing_workers.remaining() == [])
    assert StockMovement.objects.filter(movement_type="shipped").count() == len(delivered)
    assert set(PurchaseOrder.objects.values_list("status", flat=True)) == {"received", "cancelled"}
    assert_invariants()
    assert_every_order_is_closed()


@pytest.mark.parametrize(("when", "placed"), [("before", False), ("after", True)])
def test_client_crash_at_commit_places_order_or_nothing(
    crashing_workers: CrashingWorkers, when: str, placed: bool, tmp_path: Path
) -> None:
    add_stock(CHAIR=1)
    sales_order_id = uuid4()
    server = fork_server(frozenset({**database_environment(), **SHORT_INTERVALS}.items()))
    client = [sys.executable, "-m", "tests.fault_injection.crashing_client"]
    arguments = [when, str(sales_order_id), str(product("CHAIR"))]
    assert server.run([*client, *arguments], tmp_path / "client.log") == -signal.SIGKILL
    assert SalesOrder.objects.filter(id=sales_order_id).exists() == placed
    if placed:
        crashing_workers.start()  # no wake-up was sent: the sweep wakes the consumers
        assert_eventually(lambda: order_count("delivered") == 1)
        assert_eventually(is_idle)
    assert_invariants()


def _place_with_crash(
    crashing_workers: CrashingWorkers, step: tuple[str, str], point: str, victim: str
) -> UUID:
    """Place an order for a product of its own, with a shortage, and schedule one crash for it."""
    sales_order_id = uuid4()
    sku = f"CHAIR-{sales_order_id.hex[:8]}"
    add_stock(**{sku: 1})
    crashing_workers.schedule_crash(sales_order_id, *step, point, victim)
    place_orders([SalesOrderDraft(id=sales_order_id, lines=lines(**{sku: 2}))])
    return sales_order_id
