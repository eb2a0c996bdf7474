"""The REST endpoints: what each of them does."""

from uuid import uuid4

import pytest
import requests

from tests.conftest import product, settle
from tests.rest.conftest import Api


def test_the_whole_loop(api: Api) -> None:
    api.post("catalog/products/", {"sku": "CHAIR", "name": "Oak chair"})
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = api.post("sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 3}]})
    assert (order["status"], order["purchase_order_id"]) == ("awaiting_stock_reservation", None)
    settle()
    order = api.get(f"sales/orders/{order['id']}/")
    assert order["status"] == "awaiting_goods_received"
    [level] = api.get("stock/levels/")["results"]
    assert level == {"sku": "CHAIR", "on_hand": 2, "reserved": 0, "available": 2, "waiting": 3}
    received = api.post(f"purchase/orders/{order['purchase_order_id']}/receive/", {}, expect=200)
    assert (received["status"], received["lines"]) == ("received", [{"sku": "CHAIR", "quantity": 3, "received": 3}])
    settle()
    assert api.get(f"sales/orders/{order['id']}/")["status"] == "delivered"
    history = api.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [change["to_state"] for change in history][:1] == ["awaiting_stock_reservation"]
    assert history[0]["by"] == "ada"
    [reservation] = api.get(f"stock/reservations/?order={order['id']}")["results"]
    assert reservation["status"] == "shipped"


def test_an_order_is_delivered_when_a_person_says_so(api: Api) -> None:
    product("CHAIR")
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = api.post("sales/orders/", {"delivery": "manual", "lines": [{"sku": "CHAIR", "quantity": 2}]})
    problem = api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=409)
    assert problem["code"] == "order_cannot_be_delivered"
    settle()
    assert api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=200)["status"] == "delivered"


def test_an_order_is_changed_asked_about_and_cancelled(api: Api) -> None:
    product("CHAIR")
    order = api.post("sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 2}]})
    settle()
    change = {"lines": [{"sku": "CHAIR", "quantity": 3}], "revision": 1, "reason": "one more guest"}
    changed = api.post(f"sales/orders/{order['id']}/change/", change, expect=200)
    assert (changed["revision"], changed["lines"]) == (2, [{"sku": "CHAIR", "quantity": 3, "reserved": 0}])
    assert api.post(f"sales/orders/{order['id']}/change/", change, expect=200) == changed
    stale = {**change, "lines": [{"sku": "CHAIR", "quantity": 4}]}
    assert api.post(f"sales/orders/{order['id']}/change/", stale, expect=409)["code"] == "order_was_changed"
    settle()
    why = api.get(f"sales/orders/{order['id']}/why/")
    assert why["sentence"].startswith("Sales order S-1 waits for 3 × CHAIR, next in line: 2 on purchase order PO-")
    assert [each["quantity"] for each in why["missing"][0]["on_order"]] == [2, 1]
    assert api.post(f"sales/orders/{order['id']}/try-again/", {}, expect=409)["code"] == "nothing_to_try_again"
    for _ in range(2):
        cancelled = api.post(f"sales/orders/{order['id']}/cancel/", {"reason": "the party is off"}, expect=200)
        assert cancelled["status"] == "cancelled"
    settle()
    assert {each["status"] for each in api.get("purchase/orders/")["results"]} == {"cancelled"}
    history = api.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [(change["to_state"], change["by"], change["reason"]) for change in history if change["reason"]] == [
        ("awaiting_stock_reservation", "ada", "one more guest"),
        ("cancelled", "ada", "the party is off"),
    ]
    assert api.post(f"sales/orders/{order['id']}/deliver/", {}, expect=409)["code"] == "order_cannot_be_delivered"


def test_what_a_supplier_does_to_purchase_orders(api: Api) -> None:
    product("CHAIR")
    cancelled, short = (
        api.post("purchase/orders/", {"expected_at": "2031-05-17T00:00:00Z", "lines": [{"sku": "CHAIR", "quantity": 5}]})
        for _ in range(2)
    )
    assert cancelled["expected_at"] == "2031-05-17T00:00:00Z"
    later = {"expected_at": "2031-06-01T00:00:00Z", "reason": "the boat is late"}
    assert api.post(f"purchase/orders/{short['id']}/expect/", later, expect=200)["expected_at"] == "2031-06-01T00:00:00Z"
    assert api.post(f"purchase/orders/{cancelled['id']}/cancel/", {}, expect=200)["status"] == "cancelled"
    assert api.post(f"purchase/orders/{cancelled['id']}/receive/", {}, expect=409)["code"] == "nothing_outstanding"
    receipt = {"id": str(uuid4()), "lines": [{"sku": "CHAIR", "quantity": 3}]}
    api.post(f"purchase/orders/{short['id']}/receive/", receipt, expect=200)
    [received] = api.get(f"purchase/orders/{short['id']}/receipts/")["results"]
    assert (received["id"], received["by"]) == (receipt["id"], "ada")
    assert received["lines"] == [{"sku": "CHAIR", "quantity": 3, "reversed": 0}]
    assert api.post(f"purchase/orders/{short['id']}/cancel/", {}, expect=409)["code"] == "purchase_order_cannot_be_cancelled"
    assert api.post(f"purchase/orders/{short['id']}/close-short/", {}, expect=200)["status"] == "closed_short"
    settle()
    reversal = {"receipt_id": receipt["id"], "sku": "CHAIR", "quantity": 1, "reason": "miscounted"}
    api.post("stock/reversals/", reversal)
    settle()
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
    assert api.post("stock/reversals/", {**reversal, "quantity": 9}, expect=409)["code"] == "more_than_received"


def test_purchase_orders_are_created_under_ones_own_id(api: Api) -> None:
    product("CHAIR")
    body = {"id": str(uuid4()), "reference": "P-1", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    assert api.post("purchase/orders/", body) == api.post("purchase/orders/", body)
    problem = api.post("purchase/orders/", {**body, "lines": [{"sku": "CHAIR", "quantity": 3}]}, expect=409)
    assert problem["code"] == "purchase_order_taken"
    assert len(api.get("purchase/orders/?status=open")["results"]) == 1


@pytest.mark.parametrize("path", ["sales/orders/{}/", "sales/orders/{}/history/", "sales/orders/{}/why/", "purchase/orders/{}/"])
def test_what_does_not_exist_is_not_found(api: Api, path: str) -> None:
    assert api.get(path.format(uuid4()), expect=404)["code"] == "not_found"


def test_nobody_delivers_or_receives_what_does_not_exist(api: Api) -> None:
    assert api.post(f"sales/orders/{uuid4()}/deliver/", {}, expect=404)["code"] == "no_such_order"
    assert api.post(f"purchase/orders/{uuid4()}/receive/", {}, expect=404)["code"] == "no_such_purchase_order"


def test_an_order_shows_its_process_and_what_is_reserved_of_each_line(api: Api) -> None:
    for sku in ("CHAIR", "DESK"):
        product(sku)
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 5, "reason": "opening"})
    order = api.post("sales/orders/", {"lines": [{"sku": "CHAIR", "quantity": 2}, {"sku": "DESK", "quantity": 1}]})
    assert [line["reserved"] for line in order["lines"]] == [0, 0]
    settle()
    order = api.get(f"sales/orders/{order['id']}/")
    assert order["status"] == "awaiting_goods_received"
    assert [(line["sku"], line["reserved"]) for line in order["lines"]] == [("CHAIR", 2), ("DESK", 0)]
    assert (order["attempts"], order["times_bought"]) == (1, 1)
    assert order["purchase_order_id"]
    assert order["placed_at"] < order["since"] <= order["updated_at"]


def test_the_same_product_twice_in_one_order_is_added_up(api: Api) -> None:
    product("CHAIR")
    order = api.post("sales/orders/", {"lines": [{"sku": "CHAIR", "quantity": 2}, {"sku": "CHAIR", "quantity": 3}]})
    assert [(line["sku"], line["quantity"]) for line in order["lines"]] == [("CHAIR", 5)]


def test_products_are_created_under_ones_own_id(api: Api) -> None:
    stool = {"id": str(uuid4()), "sku": "STOOL", "name": "Bar stool"}
    assert api.post("catalog/products/", stool) == api.post("catalog/products/", stool) == stool
    assert api.post("catalog/products/", {**stool, "name": "Other"}, expect=409)["code"] == "product_taken"
    assert api.post("catalog/products/", {"sku": "STOOL", "name": "Bar stool"}, expect=409)["code"] == "sku_taken"
    assert api.get("catalog/products/")["results"] == [stool]


def test_health_is_for_everybody(server: str, transactional_db: None) -> None:
    response = requests.get(f"{server}/healthz", timeout=10)
    assert response.status_code == 200
    assert response.json() == {"broker": "ok", "database": "ok", "oldest_overdue_delivery": None, "dead_letters": 0}
