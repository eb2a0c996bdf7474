"""Rows are locked in one order, whatever the query plan: the tests beside this one show the deadlocks otherwise."""

from typing import Any

import pytest

from purchase.models import PurchaseOrder
from sales.models import OrderStatus
from stock.models import Balance, Reservation


@pytest.mark.parametrize("model", [Balance, Reservation, PurchaseOrder, OrderStatus])
def test_rows_are_locked_in_the_order_of_their_ids(model: Any) -> None:
    # Seen to fail: without the order_by. Two plain queries mostly find rows in the same order, so no race would show it.
    query = model.objects.locked().query

    assert query.select_for_update
    assert query.order_by == (model._meta.pk.attname,)
