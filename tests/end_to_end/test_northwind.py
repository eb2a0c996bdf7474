"""The complete Northwind data with a real worker: 77 products, 830 orders and 2,155 lines.

One test has no disturbances. In the other, customers cancel orders, and suppliers cancel purchase
orders, close them short or deliver in parts.

The data is not part of the project: NORTHWIND_DIR names its folder. Only these tests may be
skipped, when the data is missing.
"""

import os
import random
from collections.abc import Callable, Iterator
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
from sales.process_manager import SalesOrderCannotBeCancelled
from sales.services import cancel_orders, retry_reservations
from stock.models import MovementType, Reservation, ReservationLine, StockLevel, StockMovement
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import order_count

NORTHWIND = Path(os.environ.get("NORTHWIND_DIR", ""))
ORDERS = 830
# Seconds for import, receipt and processing, where `_python_seconds` returns `REFERENCE_SECONDS`.
MAX_SECONDS = {"sqlite": 30.0, "postgresql": 15.0}
REFERENCE_SECONDS = 0.05

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(
        not (NORTHWIND / "orders.csv").exists(),
        reason="NORTHWIND_DIR names no folder with the Northwind data",
    ),
]


def test_northwind_is_delivered_with_correct_totals(worker: ProcessRunner) -> None:
    assert_eventually(is_idle)
    slowdowns = [_python_seconds() / REFERENCE_SECONDS]
    began = monotonic()
    with _timed("import"):
        _import()
    with _timed("process"):
        assert_eventually(
            lambda: not order_count("awaiting_stock_reservation") and is_idle(), seconds=120
        )
    with _timed(f"receive {PurchaseOrder.objects.open().count()} purchase orders"):
        call_command("receive_goods", all_open=True)
    with _timed("process"):
        assert_eventually(lambda: order_count("delivered") == ORDERS and is_idle(), seconds=120)
    seconds = monotonic() - began
    slowdowns.append(_python_seconds() / REFERENCE_SECONDS)
    print(f"total: {seconds:.1f} s; this machine needs {mean(slowdowns):.1f} × the usual time")
    _assert_totals()
    _assert_audit_passes()
    assert seconds < MAX_SECONDS[connection.vendor] * max(1.0, mean(slowdowns))


def test_northwind_with_disturbances_closes_every_order(process_runner: ProcessRunner) -> None:
    process_runner.start(processes.worker(), processes.beat(), ORDERFLOW_RETRY_COUNTDOWN="0.5")
    began = monotonic()
    with _timed("import"):
        _import()
    supplier = _Supplier(seed=830)
    customers = _Customers(seed=830)
    with _timed("disturbances and process"):
        assert_eventually(partial(_disturb, supplier, customers), seconds=180)
    assert_eventually(is_idle, seconds=60)
    print(f"total: {monotonic() - began:.1f} s; purchase orders: {supplier.counts}")
    print(f"{customers.cancelled} sales orders cancelled, {customers.rejected} rejected")
    assert min(supplier.counts.values()) > 20
    assert customers.cancelled > 40
    assert order_count("cancelled") == customers.cancelled
    _assert_totals_after_disturbances()
    _assert_audit_passes()


def _disturb(supplier: "_Supplier", customers: "_Customers") -> bool:
    """Let the supplier and the customers act; return whether every order is closed."""
    acted = supplier.act(customers)
    needing_attention = OrderStatus.objects.filter(needs_attention=True)
    order_ids = list(needing_attention.values_list("pk", flat=True))
    retry_reservations(order_ids, actor="Nancy", reason="new supplier")
    closed = order_count("delivered") + order_count("cancelled")
    return not acted and not customers.left and closed == ORDERS


class _Customers:
    """Cancel every 7th order at a random time. If it is delivered by then, this is rejected."""

    def __init__(self, seed: int) -> None:
        orders = list(SalesOrder.objects.order_by("reference").values_list("pk", flat=True))
        self.left = orders[::7]
        random.Random(seed).shuffle(self.left)
        self.cancelled = self.rejected = 0

    def cancel_up_to(self, count: int) -> None:
        for sales_order_id in [self.left.pop() for _ in range(min(count, len(self.left)))]:
            try:
                cancel_orders([sales_order_id], actor="Nancy", reason="ordered twice")
                self.cancelled += 1
            except SalesOrderCannotBeCancelled:
                self.rejected += 1


class _Supplier:
    """Every 5th purchase order is received in two parts.

    Every 9th is received in part and closed short, every 11th is cancelled.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers: dict[UUID, int] = {}
        self.counts = dict.fromkeys(["complete", "in two parts", "closed short", "cancelled"], 0)

    def act(self, customers: _Customers) -> bool:
        """Process the open purchase orders in batches; return whether there were any.

        Customers cancel orders between the batches.
        """
        rows = PurchaseOrder.objects.open().order_by("ordered_at", "id").prefetch_related("lines")
        open_orders = list(rows)
        for start in range(0, len(open_orders), 40):
            self._process(open_orders[start : start + 40])
            customers.cancel_up_to(self._random.randint(0, 8))
        if not open_orders:
            customers.cancel_up_to(1)
        return bool(open_orders)

    def _process(self, orders: list[PurchaseOrder]) -> None:
        partial_receipts, complete_receipts = [], []
        for order in orders:
            first_time = order.id not in self._numbers
            number = self._numbers.setdefault(order.id, len(self._numbers) + 1)
            half = _half(order)
            if number % 11 == 0:
                self._decide(cancel_purchase_orders, order, "cancelled")
            elif number % 9 == 0:
                if half:
                    self._receive([ReceiptDraft(purchase_order_id=order.id, lines=half)])
                self._decide(close_short, order, "closed short")
            elif number % 5 == 0 and first_time and half:
                partial_receipts.append(ReceiptDraft(purchase_order_id=order.id, lines=half))
                self.counts["in two parts"] += 1
            else:
                complete_receipts.append(ReceiptDraft(purchase_order_id=order.id))
                self.counts["complete"] += first_time
        self._receive(partial_receipts)
        self._receive(complete_receipts)

    def _decide(self, service: Callable[..., int], order: PurchaseOrder, outcome: str) -> None:
        # A conflict: the sales order was cancelled, and the purchase order was withdrawn with it.
        with suppress(ConflictError):
            service([order.id], actor="supplier", reason="out of stock")
            self.counts[outcome] += 1

    def _receive(self, drafts: list[ReceiptDraft]) -> None:
        try:
            receive_goods(drafts, actor="supplier")
        except ConflictError:  # one was cancelled in the meantime: receive the others
            for draft in drafts:
                with suppress(ConflictError):
                    receive_goods([draft], actor="supplier")


def _half(order: PurchaseOrder) -> list[ProductQuantity]:
    lines = [(line.product_id, (line.quantity - line.received) // 2) for line in order.lines.all()]
    return [
        ProductQuantity(product_id=product_id, quantity=quantity)
        for product_id, quantity in lines
        if quantity
    ]


def _import() -> None:
    call_command(
        "import_products",
        str(NORTHWIND / "products.csv"),
        sku_column="productID",
        name_column="productName",
        on_hand_column="unitsInStock",
    )
    call_command(
        "import_orders",
        str(NORTHWIND / "orders.csv"),
        lines_file=str(NORTHWIND / "order-details.csv"),
        reference_column="orderID",
        customer_column="customerID",
        placed_at_column="orderDate",
        sku_column="productID",
        extra_fields="ignore",
    )


def _assert_audit_passes() -> None:
    assert [check for check in audit() if check.violations] == []


def _assert_totals() -> None:
    ordered = SalesOrderLine.objects.aggregate(lines=Count("id"), units=Sum("quantity"))
    assert (ordered["lines"], ordered["units"]) == (2155, 51_317)
    assert not PurchaseOrder.objects.open().exists()
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped"}
    adjustments = StockMovement.objects.filter(movement_type=MovementType.ADJUSTED)
    assert adjustments.aggregate(units=Sum("on_hand"))["units"] == 3119
    _assert_stock_levels()


def _assert_totals_after_disturbances() -> None:
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped", "released"}
    released = ReservationLine.objects.filter(reservation__status="released")
    assert not released.filter(reserved__gt=0).exists()
    _assert_stock_levels(order__order_status__status="delivered")
    _assert_received_at_most_as_ordered()


def _assert_received_at_most_as_ordered() -> None:
    """Nothing was purchased twice.

    The receipts of all purchase orders of a sales order do not exceed its lines.
    """
    lines = SalesOrderLine.objects.values_list("order", "product", "quantity")
    ordered = {(order, product): quantity for order, product, quantity in lines}
    pegged = PurchaseOrderLine.objects.exclude(pegged_to=None).values("pegged_to", "product")
    received = pegged.annotate(total=Sum("received")).order_by()
    for order, product, total in received.values_list("pegged_to", "product", "total"):
        assert order is not None
        assert total <= ordered[order, product]


def _assert_stock_levels(**delivered_filters: str) -> None:
    """On hand is the opening stock plus receipts minus delivered lines, for each product."""
    opening = _by_product(
        StockMovement, "product__sku", "on_hand", movement_type=MovementType.ADJUSTED
    )
    received = _by_product(ReceiptLine, "line__product__sku", "quantity")
    delivered = _by_product(SalesOrderLine, "product__sku", "quantity", **delivered_filters)
    levels = {level.product.sku: level for level in StockLevel.objects.select_related("product")}
    assert len(levels) == 77
    for sku, level in levels.items():
        expected = opening.get(sku, 0) + received.get(sku, 0) - delivered.get(sku, 0)
        assert (level.on_hand, level.reserved) == (expected, 0)


def _by_product(model: Any, sku: str, quantity: str, **filters: str) -> dict[str, int]:
    rows = model.objects.filter(**filters).values(sku).annotate(total=Sum(quantity)).order_by()
    return dict(rows.values_list(sku, "total"))


def _python_seconds() -> float:
    """Measure the current speed of this machine, which may be shared."""
    return median(repeat("sum(i * i for i in range(1000))", number=1000, repeat=9))


@contextmanager
def _timed(name: str) -> Iterator[None]:
    began = monotonic()
    yield
    print(f"{name}: {monotonic() - began:.1f} s")
