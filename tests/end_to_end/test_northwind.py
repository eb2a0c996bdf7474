"""The whole Northwind replay: 77 products, 830 sales orders and 2,155 lines, through a real worker.

Once as everybody wishes it, and once with customers who cancel and suppliers who cancel, fall short and deliver in parts.

The data is not part of the project: NORTHWIND_DIR says where it lies. These are the only tests that may be skipped without it.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import monotonic
from timeit import repeat
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Count, Sum

from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.queries import is_idle
from orderflow.operations.audit import audit
from orderflow.operations.management import processes
from purchase.models import PurchaseOrder, PurchaseOrderLine, ReceiptLine
from purchase.services import ReceiptDraft, cancel_purchase_orders, close_short, receive_goods
from sales.models import OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import SalesOrderCannotBeCancelled, Status
from sales.services import cancel_orders, try_again
from stock.models import MovementType, Reservation, ReservationLine, StockLevel, StockMovement
from tests.end_to_end.conftest import ProcessRunner, assert_eventually

NORTHWIND = Path(
    os.environ.get("NORTHWIND_DIR", Path(__file__).parents[3] / "shared" / "data" / "northwind")
)
# Seconds of processing, import and receipt included, where Python takes `USUALLY` seconds for `_seconds_of_python`.
LIMIT = {"sqlite": 30.0, "postgresql": 15.0}
USUALLY = 0.05

pytestmark = pytest.mark.serial
needs_the_data = pytest.mark.skipif(
    not NORTHWIND.exists(),
    reason="the Northwind data is not there: NORTHWIND_DIR says where it is",
)


@needs_the_data
def test_every_order_of_northwind_is_delivered_and_the_sums_are_right(
    worker: ProcessRunner,
) -> None:
    assert_eventually(is_idle)
    slowness = [_seconds_of_python() / USUALLY]
    began = monotonic()
    with _told("import"):
        _import()
    with _told("settle"):
        assert_eventually(
            lambda: not _orders_in(Status.AWAITING_STOCK_RESERVATION) and is_idle(), seconds=120
        )
    opened = PurchaseOrder.objects.open().count()
    with _told(f"receive {opened} purchase orders"):
        call_command("receive_goods", all_open=True)
    with _told("settle"):
        assert_eventually(lambda: _orders_in(Status.DELIVERED) == 830 and is_idle(), seconds=120)
    seconds = monotonic() - began
    slowness.append(_seconds_of_python() / USUALLY)
    print(
        f"all in all: {seconds:.1f} s; this machine takes {mean(slowness):.1f} times as long as is usual"
    )
    _assert_sums()
    assert [check for check in audit() if check.offenders] == []
    assert seconds < LIMIT[connection.vendor] * max(1.0, mean(slowness))


@needs_the_data
def test_whoever_cancels_and_whatever_does_not_come_every_order_ends_and_the_sums_are_right(
    process_runner: ProcessRunner,
) -> None:
    process_runner.start(processes.worker(), processes.beat(), ORDERFLOW_RETRY_COUNTDOWN="0.5")
    began = monotonic()
    with _told("import"):
        _import()
    supplier = _Supplier(seed=830)
    customers = _Customers(seed=830)
    with _told("everything else"):
        assert_eventually(partial(_all_have_ended, supplier, customers), seconds=180)
    assert_eventually(is_idle, seconds=60)
    print(f"all in all: {monotonic() - began:.1f} s; purchase orders {supplier.told}")
    print(f"{customers.cancelled} sales orders cancelled, {customers.overdue} too late")
    assert min(supplier.told.values()) > 20
    assert customers.cancelled > 40
    assert _orders_in(Status.CANCELLED) == customers.cancelled
    _assert_sums_after_disturbances()
    assert [check for check in audit() if check.offenders] == []


def _all_have_ended(supplier: "_Supplier", customers: "_Customers") -> bool:
    """Have the supplier and the customers do some of what they do; is nothing left to do?"""
    busy = supplier.act(customers)
    needy = OrderStatus.objects.filter(needs_attention=True).values_list("pk", flat=True)
    try_again(list(needy), actor="Nancy", reason="a new supplier")
    return (
        not busy
        and not customers.left
        and _orders_in(Status.DELIVERED) + _orders_in(Status.CANCELLED) == 830
    )


class _Customers:
    """Every seventh order is cancelled, at a moment drawn at random; of some that is too late."""

    def __init__(self, seed: int) -> None:
        orders = list(SalesOrder.objects.order_by("reference").values_list("pk", flat=True))
        self.left = orders[::7]
        random.Random(seed).shuffle(self.left)
        self.cancelled = self.overdue = 0

    def cancel_some(self, count: int) -> None:
        for sales_order_id in [self.left.pop() for _ in range(min(count, len(self.left)))]:
            try:
                cancel_orders([sales_order_id], actor="Nancy", reason="changed their mind")
                self.cancelled += 1
            except SalesOrderCannotBeCancelled:
                self.overdue += 1


class _Supplier:
    """Every fifth purchase order comes in two parts, every ninth is closed short, every eleventh is cancelled."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seen: dict[UUID, int] = {}
        self.told = dict.fromkeys(["whole", "in two parts", "closed short", "cancelled"], 0)

    def act(self, customers: _Customers) -> bool:
        """Deal with what is open now, some at a time, with customers who cancel in between; returns whether there was any."""
        still_open = list(
            PurchaseOrder.objects.open().order_by("ordered_at", "id").prefetch_related("lines")
        )
        for some in (still_open[start : start + 40] for start in range(0, len(still_open), 40)):
            self._deal_with(some)
            customers.cancel_some(self._random.randint(0, 8))
        if not still_open:
            customers.cancel_some(1)
        return bool(still_open)

    def _deal_with(self, orders: list[PurchaseOrder]) -> None:
        parts, rest = [], []
        for order in orders:
            first_time = order.id not in self._seen
            number = self._seen.setdefault(order.id, len(self._seen) + 1)
            if number % 11 == 0:
                self._decide(cancel_purchase_orders, order, "cancelled")
            elif number % 9 == 0:
                self._receive(
                    [ReceiptDraft(purchase_order_id=order.id, lines=_half(order))]
                    if _half(order)
                    else []
                )
                self._decide(close_short, order, "closed short")
            elif number % 5 == 0 and first_time and _half(order):
                parts.append(ReceiptDraft(purchase_order_id=order.id, lines=_half(order)))
                self.told["in two parts"] += 1
            else:
                rest.append(ReceiptDraft(purchase_order_id=order.id))
                self.told["whole"] += first_time
        self._receive(parts)
        self._receive(rest)

    def _decide(self, service: Any, order: PurchaseOrder, what: str) -> None:
        with suppress(
            ConflictError
        ):  # the sales order was cancelled, and the purchase order with it
            service([order.id], actor="the supplier", reason="out of stock")
            self.told[what] += 1

    def _receive(self, arrivals: list[ReceiptDraft]) -> None:
        try:
            receive_goods(arrivals, actor="the supplier")
        except ConflictError:  # one of them was cancelled meanwhile: one by one, then
            for arrival in arrivals:
                with suppress(ConflictError):
                    receive_goods([arrival], actor="the supplier")


def _half(order: PurchaseOrder) -> list[ProductQuantity]:
    lines = [(line.product_id, (line.quantity - line.received) // 2) for line in order.lines.all()]
    return [
        ProductQuantity(product_id=product_id, quantity=quantity)
        for product_id, quantity in lines
        if quantity
    ]


def _assert_sums_after_disturbances() -> None:
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped", "released"}
    assert not ReservationLine.objects.filter(
        reservation__status="released", reserved__gt=0
    ).exists()
    _assert_balances(order__order_status__status="delivered")
    # What came for an order, of all the purchase orders that were made for it, is no more than it ever wanted: nothing was
    # bought twice.
    wanted = {
        (order, product): quantity
        for order, product, quantity in SalesOrderLine.objects.values_list(
            "order", "product", "quantity"
        )
    }
    came = (
        PurchaseOrderLine.objects.exclude(pegged_to=None)
        .values("pegged_to", "product")
        .annotate(total=Sum("received"))
    )
    for order, product, total in came.order_by().values_list("pegged_to", "product", "total"):
        assert order is not None
        assert total <= wanted[order, product]


def _import() -> None:
    columns = {"sku": "productID", "name": "productName", "on_hand": "unitsInStock"}
    call_command("import_products", str(NORTHWIND / "products.csv"), **columns)
    columns = {
        "reference": "orderID",
        "customer": "customerID",
        "placed_at": "orderDate",
        "sku": "productID",
    }
    lines = str(NORTHWIND / "order-details.csv")
    call_command(
        "import_orders",
        str(NORTHWIND / "orders.csv"),
        lines=lines,
        extra_fields="ignore",
        **columns,
    )


def _orders_in(status: Status) -> int:
    return OrderStatus.objects.filter(status=status).count()


def _assert_sums() -> None:
    ordered = SalesOrderLine.objects.aggregate(lines=Count("id"), units=Sum("quantity"))
    assert (ordered["lines"], ordered["units"]) == (2155, 51_317)
    assert not PurchaseOrder.objects.open().exists()
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped"}
    opening = StockMovement.objects.filter(movement_type=MovementType.ADJUSTED).aggregate(
        units=Sum("on_hand")
    )["units"]
    assert opening == 3119
    _assert_balances()


def _assert_balances(**delivered_are: str) -> None:
    opening = _by_product(
        StockMovement, "product__sku", "on_hand", movement_type=MovementType.ADJUSTED
    )
    received = _by_product(ReceiptLine, "line__product__sku", "quantity")
    delivered = _by_product(SalesOrderLine, "product__sku", "quantity", **delivered_are)
    balances = {
        balance.product.sku: balance for balance in StockLevel.objects.select_related("product")
    }
    assert len(balances) == 77
    for sku, balance in balances.items():
        assert (
            opening.get(sku, 0) + received.get(sku, 0) - delivered.get(sku, 0) == balance.on_hand
        )
        assert balance.reserved == 0


def _by_product(model: type, sku: str, quantity: str, **filters: str) -> dict[str, int]:
    rows = model.objects.filter(**filters).values(sku).annotate(total=Sum(quantity)).order_by()  # type: ignore[attr-defined]
    return dict(rows.values_list(sku, "total"))


def _seconds_of_python() -> float:
    """How quick this machine is now: it may be shared, and slower than others, and slower than it was."""
    return median(repeat("sum(i * i for i in range(1000))", number=1000, repeat=9))


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = monotonic()
    yield
    print(f"{what}: {monotonic() - began:.1f} s")
