"""All code locks rows in one order. Other tests of this package show the deadlocks without it."""

from typing import Any

import pytest

from purchase.models import PurchaseOrder
from sales.models import OrderStatus
from stock.models import Reservation, StockLevel


@pytest.mark.parametrize("model", [StockLevel, Reservation, PurchaseOrder, OrderStatus])
def test_rows_are_locked_by_primary_key(model: Any) -> None:
    # Fails without the ordering. Two plain queries usually return the same order, so no
    # concurrent test would detect it.
    query = model.objects.locked().query

    assert query.select_for_update
    assert query.order_by == (model._meta.pk.attname,)
