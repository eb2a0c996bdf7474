"""Bulk requests: up to 1,000 orders, each placed or rejected on its own."""

from typing import Any
from uuid import uuid4

import pytest

from sales.models import SalesOrder
from tests.conftest import drain_all, product
from tests.rest.conftest import Api

LINE = {"sku": "CHAIR", "quantity": 1}


@pytest.fixture(autouse=True)
def chairs(api: Api) -> None:
    product("CHAIR")


def bulk(api: Api, *orders: Any, **how: Any) -> Any:
    return api.post("sales/orders/bulk/", {"orders": orders}, expect=200, **how)["results"]


def test_bulk_orders_are_placed_or_rejected_individually(api: Api) -> None:
    there = api.post("sales/orders/", {"id": str(uuid4()), "reference": "S-0", "lines": [LINE]})
    new = str(uuid4())
    results = bulk(
        api,
        {"reference": "S-1", "lines": [LINE, LINE]},
        {"reference": "S-1", "lines": [LINE]},  # reference of the first one
        {"reference": "S-2", "lines": [LINE, {"sku": "CHAIR", "quantity": 0}]},
        {"lines": [{"sku": "UNKNOWN", "quantity": 1}]},
        {"id": there["id"], "reference": "S-0", "lines": [LINE]},  # exists with the same content
        {"id": there["id"], "reference": "S-0", "lines": [LINE, LINE]},
        {"id": new, "lines": [LINE]},
        {"id": new, "lines": [LINE]},  # repeated
        {"id": new, "customer": "Ada", "lines": [LINE]},
        {"reference": "S-0", "lines": [LINE]},
        "no order",
        {"reference": "S-2", "lines": [{**LINE, "quantity": 1_000_000_000}, LINE]},
        {"reference": "S-2", "lines": [LINE]},
    )
    assert [
        each["placed"] or (each["problem"]["status"], each["problem"]["code"]) for each in results
    ] == [
        True,
        (409, "sales_order_already_exists"),
        (400, "validation_failed"),
        (422, "unknown_sku"),
        True,
        (409, "sales_order_already_exists"),
        True,
        True,
        (409, "sales_order_already_exists"),
        (409, "sales_order_already_exists"),
        (400, "validation_failed"),
        (422, "quantity_out_of_range"),
        True,
    ]
    assert [each["sales_order"]["reference"] for each in results if each["placed"]][:2] == [
        "S-1",
        "S-0",
    ]
    assert results[6]["sales_order"] == results[7]["sales_order"]
    assert results[2]["problem"]["errors"][0]["pointer"] == "#/orders/2/lines/1/quantity"
    assert results[10]["problem"]["errors"][0]["pointer"] == "#/orders/10"
    assert all((each["sales_order"] is None) != each["placed"] for each in results)
    assert set(SalesOrder.objects.values_list("reference", flat=True)) == {
        "S-0",
        "S-1",
        "S-2",
        results[6]["sales_order"]["reference"],
    }


def test_bulk_places_1000_orders(api: Api) -> None:
    orders = [{"reference": f"S-{number}", "lines": [LINE]} for number in range(1000)]
    results = bulk(api, *orders, key="k-1")
    assert [each["sales_order"]["reference"] for each in results] == [
        order["reference"] for order in orders
    ]
    assert bulk(api, *orders, key="k-1") == results
    drain_all()
    assert (
        len(api.get("sales/orders/", status="awaiting_goods_received", limit=1000)["results"])
        == 1000
    )


def test_lone_surrogate_in_one_order_does_not_affect_others(api: Api) -> None:
    # Seen failing: the problem quotes it and could not be encoded, after the commit.
    results = bulk(
        api,
        {"lines": [LINE]},
        {"delivery_mode": "\ud800", "lines": [LINE]},
        {"\ud800": 1, "lines": [LINE]},
    )
    assert [each["placed"] for each in results] == [True, False, False]


def test_bulk_rejects_0_and_more_than_1000_orders(api: Api) -> None:
    wrong: list[Any] = [[], [{}] * 1001, "orders", None]
    for orders in wrong:
        problem = api.post("sales/orders/bulk/", {"orders": orders}, expect=400)
        assert problem["errors"][0]["pointer"] == "#/orders"
    assert not SalesOrder.objects.exists()
