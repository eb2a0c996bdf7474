"""A thousand orders in one request, each accepted or refused on its own."""

from typing import Any
from uuid import uuid4

import pytest

from sales.models import SalesOrder
from tests.conftest import product, settle
from tests.rest.conftest import Api

LINE = {"sku": "CHAIR", "quantity": 1}


@pytest.fixture(autouse=True)
def chairs(api: Api) -> None:
    product("CHAIR")


def bulk(api: Api, *orders: Any, **how: Any) -> Any:
    return api.post("sales/orders/bulk/", {"orders": orders}, expect=200, **how)["results"]


def test_each_order_is_accepted_or_refused_on_its_own_in_order(api: Api) -> None:
    there = api.post("sales/orders/", {"id": str(uuid4()), "reference": "S-0", "lines": [LINE]})
    new = str(uuid4())
    results = bulk(
        api,
        {"reference": "S-1", "lines": [LINE, LINE]},
        {"reference": "S-1", "lines": [LINE]},  # the first one has the reference
        {"reference": "S-2", "lines": [LINE, {"sku": "CHAIR", "quantity": 0}]},
        {"lines": [{"sku": "UNKNOWN", "quantity": 1}]},
        {"id": there["id"], "reference": "S-0", "lines": [LINE]},  # was placed before
        {"id": there["id"], "reference": "S-0", "lines": [LINE, LINE]},
        {"id": new, "lines": [LINE]},
        {"id": new, "lines": [LINE]},  # the same once more
        {"id": new, "customer": "Ada", "lines": [LINE]},
        {"reference": "S-0", "lines": [LINE]},
        "no order",
        {"reference": "S-2", "lines": [{**LINE, "quantity": 1_000_000_000}, LINE]},
        {"reference": "S-2", "lines": [LINE]},
    )
    assert [each["accepted"] or (each["problem"]["status"], each["problem"]["code"]) for each in results] == [
        True,
        (409, "order_taken"),
        (400, "invalid"),
        (422, "unknown_sku"),
        True,
        (409, "order_taken"),
        True,
        True,
        (409, "order_taken"),
        (409, "order_taken"),
        (400, "invalid"),
        (422, "quantity_out_of_range"),
        True,
    ]
    assert [each["order"]["reference"] for each in results if each["accepted"]][:2] == ["S-1", "S-0"]
    assert results[6]["order"] == results[7]["order"]
    assert results[2]["problem"]["errors"][0]["pointer"] == "#/orders/2/lines/1/quantity"
    assert results[10]["problem"]["errors"][0]["pointer"] == "#/orders/10"
    assert all((each["order"] is None) != each["accepted"] for each in results)
    assert set(SalesOrder.objects.values_list("reference", flat=True)) == {"S-0", "S-1", "S-2", results[6]["order"]["reference"]}


def test_a_thousand_orders_are_placed_at_once_and_move(api: Api) -> None:
    orders = [{"reference": f"S-{number}", "lines": [LINE]} for number in range(1000)]
    results = bulk(api, *orders, key="k-1")
    assert [each["order"]["reference"] for each in results] == [order["reference"] for order in orders]
    assert bulk(api, *orders, key="k-1") == results
    settle()
    assert len(api.get("sales/orders/", status="awaiting_goods_received", limit=1000)["results"]) == 1000


def test_half_a_character_in_one_order_does_no_harm_to_the_others(api: Api) -> None:
    # Seen to fail: the refusal, which quotes it, could not be sent, after the other order was placed.
    results = bulk(api, {"lines": [LINE]}, {"delivery": "\ud800", "lines": [LINE]}, {"\ud800": 1, "lines": [LINE]})
    assert [each["accepted"] for each in results] == [True, False, False]


def test_it_rejects_none_and_more_than_a_thousand(api: Api) -> None:
    wrong: list[Any] = [[], [{}] * 1001, "orders", None]
    for orders in wrong:
        problem = api.post("sales/orders/bulk/", {"orders": orders}, expect=400)
        assert problem["errors"][0]["pointer"] == "#/orders"
    assert not SalesOrder.objects.exists()
