"""The whole Northwind replay: 77 products, 830 sales orders and 2,155 lines, through a real worker.

The data is not part of the project: NORTHWIND_DIR says where it lies. This is the one test that may be skipped without it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Count, Sum

from orderflow.console.audit import audit
from orderflow.messaging.queries import is_quiet
from purchase.models import PurchaseOrder, ReceiptLine
from sales.models import OrderStatus, SalesOrderLine
from sales.process_manager import State
from stock.models import Balance, Movement, Reservation, StockMovement
from tests.journeys.conftest import Workshop, assert_eventually

NORTHWIND = Path(os.environ.get("NORTHWIND_DIR", Path(__file__).parents[3] / "shared" / "data" / "northwind"))
LIMIT = {"sqlite": 30.0, "postgresql": 15.0}  # seconds of processing, import and receipt included


@pytest.mark.skipif(not NORTHWIND.exists(), reason="the Northwind data is not there: NORTHWIND_DIR says where it is")
def test_every_order_of_northwind_is_delivered_and_the_sums_are_right(worker: Workshop) -> None:
    assert_eventually(is_quiet)
    began = monotonic()
    with _told("import"):
        _import()
    with _told("settle"):
        assert_eventually(lambda: not _orders_in(State.AWAITING_STOCK_RESERVATION) and is_quiet(), seconds=120)
    opened = PurchaseOrder.objects.open().count()
    with _told(f"receive {opened} purchase orders"):
        call_command("receive_goods", all_open=True)
    with _told("settle"):
        assert_eventually(lambda: _orders_in(State.DELIVERED) == 830 and is_quiet(), seconds=120)
    seconds = monotonic() - began
    print(f"all in all: {seconds:.1f} s")
    _assert_sums()
    assert [check for check in audit() if check.offenders] == []
    assert seconds < LIMIT[connection.vendor]


def _import() -> None:
    columns = {"sku": "productID", "name": "productName", "on_hand": "unitsInStock"}
    call_command("import_products", str(NORTHWIND / "products.csv"), **columns)
    columns = {"reference": "orderID", "customer": "customerID", "placed_at": "orderDate", "sku": "productID"}
    lines = str(NORTHWIND / "order-details.csv")
    call_command("import_orders", str(NORTHWIND / "orders.csv"), lines=lines, extra_fields="ignore", **columns)


def _orders_in(state: State) -> int:
    return OrderStatus.objects.filter(state=state).count()


def _assert_sums() -> None:
    ordered = SalesOrderLine.objects.aggregate(lines=Count("id"), units=Sum("quantity"))
    assert (ordered["lines"], ordered["units"]) == (2155, 51_317)
    assert not PurchaseOrder.objects.open().exists()
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped"}
    opening = _by_product(StockMovement, "product__sku", "on_hand", kind=Movement.ADJUSTED)
    assert sum(opening.values()) == 3119
    received = _by_product(ReceiptLine, "line__product__sku", "quantity")
    delivered = _by_product(SalesOrderLine, "product__sku", "quantity")
    balances = {balance.product.sku: balance for balance in Balance.objects.select_related("product")}
    assert len(balances) == 77
    for sku, balance in balances.items():
        assert opening.get(sku, 0) + received.get(sku, 0) - delivered.get(sku, 0) == balance.on_hand
        assert balance.reserved == 0


def _by_product(model: type, sku: str, quantity: str, **filters: str) -> dict[str, int]:
    rows = model.objects.filter(**filters).values(sku).annotate(total=Sum(quantity)).order_by()  # type: ignore[attr-defined]
    return dict(rows.values_list(sku, "total"))


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = monotonic()
    yield
    print(f"{what}: {monotonic() - began:.1f} s")
