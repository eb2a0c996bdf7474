"""What each REST endpoint does."""

from uuid import uuid4

import pytest
import requests

from tests.conftest import drain_all, product
from tests.rest.conftest import Api


def test_order_is_purchased_received_and_delivered(api: Api) -> None:
    api.post("catalog/products/", {"sku": "CHAIR", "name": "Oak chair"})
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = api.post(
        "sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 3}]}
    )
    assert (order["status"], order["purchase_order_id"]) == ("awaiting_stock_reservation", None)
    drain_all()
    order = api.get(f"sales/orders/{order['id']}/")
    assert order["status"] == "awaiting_goods_received"
    [level] = api.get("stock/levels/")["results"]
    assert level == {"sku": "CHAIR", "on_hand": 2, "reserved": 0, "available": 2, "backordered": 3}
    received = api.post(f"purchase/orders/{order['purchase_order_id']}/receive/", {}, expect=200)
    assert (received["status"], received["lines"]) == (
        "received",
        [{"sku": "CHAIR", "quantity": 3, "received": 3}],
    )
    drain_all()
    assert api.get(f"sales/orders/{order['id']}/")["status"] == "delivered"
    history = api.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [change["to_status"] for change in history][:1] == ["awaiting_stock_reservation"]
    assert history[0]["actor"] == "ada"
    [reservation] = api.get(f"stock/reservations/?sales_order_id={order['id']}")["results"]
    assert reservation["status"] == "shipped"


def test_manual_order_is_delivered_on_request(api: Api) -> None:
    product("CHAIR")
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = api.post(
        "sales/orders/", {"delivery_mode": "manual", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    )
    problem = api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=409)
    assert problem["code"] == "sales_order_cannot_be_delivered"
    drain_all()
    assert (
        api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=200)["status"] == "delivered"
    )


def test_order_is_changed_explained_and_cancelled(api: Api) -> None:
    product("CHAIR")
    order = api.post(
        "sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    )
    drain_all()
    change = {
        "lines": [{"sku": "CHAIR", "quantity": 3}],
        "revision": 1,
        "reason": "one more guest",
    }
    changed = api.post(f"sales/orders/{order['id']}/change/", change, expect=200)
    assert (changed["revision"], changed["lines"]) == (
        2,
        [{"sku": "CHAIR", "quantity": 3, "reserved": 0}],
    )
    assert api.post(f"sales/orders/{order['id']}/change/", change, expect=200) == changed
    stale = {**change, "lines": [{"sku": "CHAIR", "quantity": 4}]}
    assert (
        api.post(f"sales/orders/{order['id']}/change/", stale, expect=409)["code"]
        == "revision_conflict"
    )
    drain_all()
    explanation = api.get(f"sales/orders/{order['id']}/explanation/")
    assert explanation["summary"].startswith(
        "Sales order S-1 is awaiting goods received: 3 × CHAIR short, queue position 1: "
        "2 on order with PO-"
    )
    assert [each["quantity"] for each in explanation["shortages"][0]["on_order"]] == [2, 1]
    assert (
        api.post(f"sales/orders/{order['id']}/retry/", {}, expect=409)["code"]
        == "nothing_to_retry"
    )
    for _ in range(2):
        cancelled = api.post(
            f"sales/orders/{order['id']}/cancel/", {"reason": "the party is off"}, expect=200
        )
        assert cancelled["status"] == "cancelled"
    drain_all()
    assert {each["status"] for each in api.get("purchase/orders/")["results"]} == {"cancelled"}
    history = api.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [
        (change["to_status"], change["actor"], change["reason"])
        for change in history
        if change["reason"]
    ] == [
        ("awaiting_stock_reservation", "ada", "one more guest"),
        ("cancelled", "ada", "the party is off"),
    ]
    assert (
        api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=409)["code"]
        == "sales_order_cannot_be_delivered"
    )


def test_purchase_order_actions(api: Api) -> None:
    product("CHAIR")
    cancelled, short = (
        api.post(
            "purchase/orders/",
            {"expected_at": "2031-05-17T00:00:00Z", "lines": [{"sku": "CHAIR", "quantity": 5}]},
        )
        for _ in range(2)
    )
    assert cancelled["expected_at"] == "2031-05-17T00:00:00Z"
    later = {"expected_at": "2031-06-01T00:00:00Z", "reason": "the boat is late"}
    assert (
        api.post(f"purchase/orders/{short['id']}/reschedule/", later, expect=200)["expected_at"]
        == "2031-06-01T00:00:00Z"
    )
    assert (
        api.post(f"purchase/orders/{cancelled['id']}/cancel/", {}, expect=200)["status"]
        == "cancelled"
    )
    assert (
        api.post(f"purchase/orders/{cancelled['id']}/receive/", {}, expect=409)["code"]
        == "purchase_order_cannot_be_received"
    )
    receipt = {"id": str(uuid4()), "lines": [{"sku": "CHAIR", "quantity": 3}]}
    api.post(f"purchase/orders/{short['id']}/receive/", receipt, expect=200)
    [received] = api.get(f"purchase/orders/{short['id']}/receipts/")["results"]
    assert (received["id"], received["actor"]) == (receipt["id"], "ada")
    assert received["lines"] == [{"sku": "CHAIR", "quantity": 3, "reversed": 0}]
    assert (
        api.post(f"purchase/orders/{short['id']}/cancel/", {}, expect=409)["code"]
        == "purchase_order_cannot_be_cancelled"
    )
    assert (
        api.post(f"purchase/orders/{short['id']}/close-short/", {}, expect=200)["status"]
        == "closed_short"
    )
    drain_all()
    reversal = {"receipt_id": receipt["id"], "sku": "CHAIR", "quantity": 1, "reason": "miscounted"}
    api.post("stock/receipt-reversals/", reversal)
    drain_all()
    [level] = api.get("stock/levels/")["results"]
    assert level["on_hand"] == 2
    history = api.get(f"purchase/orders/{short['id']}/history/")["results"]
    assert [(change["to_status"], change["reason"]) for change in history] == [
        ("open", "the boat is late"),
        ("closed_short", ""),
        ("closed_short", "miscounted"),
    ]
    [line] = api.get(f"purchase/orders/{short['id']}/")["lines"]
    assert (line["quantity"], line["received"]) == (5, 2)
    assert (
        api.post("stock/receipt-reversals/", {**reversal, "quantity": 9}, expect=409)["code"]
        == "quantity_exceeds_received"
    )


def test_repeated_purchase_order_id_returns_the_existing_one(api: Api) -> None:
    product("CHAIR")
    body = {"id": str(uuid4()), "reference": "P-1", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    assert api.post("purchase/orders/", body) == api.post("purchase/orders/", body)
    problem = api.post(
        "purchase/orders/", {**body, "lines": [{"sku": "CHAIR", "quantity": 3}]}, expect=409
    )
    assert problem["code"] == "purchase_order_already_exists"
    assert len(api.get("purchase/orders/?status=open")["results"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "sales/orders/{}/",
        "sales/orders/{}/history/",
        "sales/orders/{}/explanation/",
        "purchase/orders/{}/",
    ],
)
def test_unknown_id_returns_404(api: Api, path: str) -> None:
    assert api.get(path.format(uuid4()), expect=404)["code"] == "not_found"


def test_action_on_unknown_id_returns_404(api: Api) -> None:
    assert (
        api.post(f"sales/orders/{uuid4()}/deliver/", {}, expect=404)["code"]
        == "sales_order_not_found"
    )
    assert (
        api.post(f"purchase/orders/{uuid4()}/receive/", {}, expect=404)["code"]
        == "purchase_order_not_found"
    )


def test_order_shows_process_and_reserved_quantities(api: Api) -> None:
    for sku in ("CHAIR", "DESK"):
        product(sku)
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 5, "reason": "opening"})
    order = api.post(
        "sales/orders/",
        {"lines": [{"sku": "CHAIR", "quantity": 2}, {"sku": "DESK", "quantity": 1}]},
    )
    assert [line["reserved"] for line in order["lines"]] == [0, 0]
    drain_all()
    order = api.get(f"sales/orders/{order['id']}/")
    assert order["status"] == "awaiting_goods_received"
    assert [(line["sku"], line["reserved"]) for line in order["lines"]] == [
        ("CHAIR", 2),
        ("DESK", 0),
    ]
    assert (order["request_number"], order["purchase_count"]) == (1, 1)
    assert order["purchase_order_id"]
    assert order["placed_at"] < order["status_changed_at"] <= order["updated_at"]


def test_lines_of_the_same_product_are_added_up(api: Api) -> None:
    product("CHAIR")
    order = api.post(
        "sales/orders/",
        {"lines": [{"sku": "CHAIR", "quantity": 2}, {"sku": "CHAIR", "quantity": 3}]},
    )
    assert [(line["sku"], line["quantity"]) for line in order["lines"]] == [("CHAIR", 5)]


def test_repeated_product_id_returns_the_existing_product(api: Api) -> None:
    stool = {"id": str(uuid4()), "sku": "STOOL", "name": "Bar stool"}
    created = api.post("catalog/products/", stool)
    assert created == {**stool, "actor": "ada", "created_at": created["created_at"]}
    assert api.post("catalog/products/", stool) == created
    renamed = api.post("catalog/products/", {**stool, "name": "Other"}, expect=409)
    assert renamed["code"] == "product_already_exists"
    duplicate = {"sku": "STOOL", "name": "Bar stool"}
    problem = api.post("catalog/products/", duplicate, expect=409)
    assert problem["code"] == "sku_already_exists"
    assert api.get("catalog/products/")["results"] == [created]


def test_health_check_needs_no_authentication(server: str, transactional_db: None) -> None:
    response = requests.get(f"{server}/healthz", timeout=10)
    assert response.status_code == 200
    assert response.json() == {
        "broker": "ok",
        "database": "ok",
        "oldest_due_message_at": None,
        "dead_letter_count": 0,
    }
