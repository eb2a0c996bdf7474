"""The REST endpoints: each parses, calls one service or query, and shows."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests.conftest import product, settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> APIClient:
    token = Token.objects.create(user=get_user_model().objects.create_superuser("ada"))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token.key}")
    return client


def post(client: APIClient, path: str, body: Any, *, expect: int = 201) -> Any:
    response = client.post(f"/api/{path}", body, format="json")
    assert response.status_code == expect, response.content
    return response.json()


def get(client: APIClient, path: str) -> Any:
    response = client.get(f"/api/{path}")
    assert response.status_code == 200, response.content
    return response.json()


def test_the_whole_loop(client: APIClient) -> None:
    post(client, "catalog/products/", {"sku": "CHAIR", "name": "Oak chair"})
    post(client, "stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = post(client, "sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 3}]})
    assert (order["status"], order["purchase_order_id"]) == ("awaiting_stock_reservation", None)
    settle()
    order = get(client, f"sales/orders/{order['id']}/")
    assert order["status"] == "awaiting_goods_received"
    [level] = get(client, "stock/levels/")["results"]
    assert level == {"sku": "CHAIR", "on_hand": 2, "reserved": 0, "available": 2, "waiting": 3}
    received = post(client, f"purchase/orders/{order['purchase_order_id']}/receive/", {}, expect=200)
    assert (received["status"], received["lines"]) == ("received", [{"sku": "CHAIR", "quantity": 3, "received": 3}])
    settle()
    assert get(client, f"sales/orders/{order['id']}/")["status"] == "delivered"
    history = get(client, f"sales/orders/{order['id']}/history/")
    assert [change["to_state"] for change in history][:1] == ["awaiting_stock_reservation"]
    assert history[0]["by"] == "ada"
    [reservation] = get(client, f"stock/reservations/?order={order['id']}")["results"]
    assert reservation["status"] == "shipped"


def test_an_order_is_delivered_when_a_person_says_so(client: APIClient) -> None:
    product("CHAIR")
    post(client, "stock/adjustments/", {"sku": "CHAIR", "quantity": 2, "reason": "opening"})
    order = post(client, "sales/orders/", {"delivery": "manual", "lines": [{"sku": "CHAIR", "quantity": 2}]})
    problem = post(client, f"sales/orders/{order['id']}/deliver/", {}, expect=409)
    assert problem["code"] == "order_cannot_be_delivered"
    settle()
    assert post(client, f"sales/orders/{order['id']}/deliver/", {}, expect=200)["status"] == "delivered"


def test_an_order_is_changed_asked_about_and_cancelled(client: APIClient) -> None:
    product("CHAIR")
    order = post(client, "sales/orders/", {"reference": "S-1", "lines": [{"sku": "CHAIR", "quantity": 2}]})
    settle()
    change = {"lines": [{"sku": "CHAIR", "quantity": 3}], "revision": 1, "reason": "one more guest"}
    changed = post(client, f"sales/orders/{order['id']}/change/", change, expect=200)
    assert (changed["revision"], changed["lines"]) == (2, [{"sku": "CHAIR", "quantity": 3}])
    assert post(client, f"sales/orders/{order['id']}/change/", change, expect=200) == changed
    stale = {**change, "lines": [{"sku": "CHAIR", "quantity": 4}]}
    assert post(client, f"sales/orders/{order['id']}/change/", stale, expect=409)["code"] == "order_was_changed"
    settle()
    why = get(client, f"sales/orders/{order['id']}/why/")
    assert why["sentence"].startswith("Sales order S-1 waits for 3 × CHAIR, next in line: 2 on purchase order PO-")
    assert [each["quantity"] for each in why["missing"][0]["on_order"]] == [2, 1]
    assert post(client, f"sales/orders/{order['id']}/try-again/", {}, expect=409)["code"] == "nothing_to_try_again"
    for _ in range(2):
        cancelled = post(client, f"sales/orders/{order['id']}/cancel/", {"reason": "the party is off"}, expect=200)
        assert cancelled["status"] == "cancelled"
    settle()
    assert {each["status"] for each in get(client, "purchase/orders/")["results"]} == {"cancelled"}
    history = get(client, f"sales/orders/{order['id']}/history/")
    assert [(change["to_state"], change["by"], change["reason"]) for change in history if change["reason"]] == [
        ("awaiting_stock_reservation", "ada", "one more guest"),
        ("cancelled", "ada", "the party is off"),
    ]
    assert post(client, f"sales/orders/{order['id']}/deliver/", {}, expect=409)["code"] == "order_cannot_be_delivered"


def test_what_a_supplier_does_to_purchase_orders(client: APIClient) -> None:
    product("CHAIR")
    cancelled, short = (
        post(client, "purchase/orders/", {"expected_at": "2031-05-17T00:00:00Z", "lines": [{"sku": "CHAIR", "quantity": 5}]})
        for _ in range(2)
    )
    assert cancelled["expected_at"] == "2031-05-17T00:00:00Z"
    later = {"expected_at": "2031-06-01T00:00:00Z", "reason": "the boat is late"}
    assert post(client, f"purchase/orders/{short['id']}/expect/", later, expect=200)["expected_at"] == "2031-06-01T00:00:00Z"
    assert post(client, f"purchase/orders/{cancelled['id']}/cancel/", {}, expect=200)["status"] == "cancelled"
    assert post(client, f"purchase/orders/{cancelled['id']}/receive/", {}, expect=409)["code"] == "nothing_outstanding"
    receipt = {"id": str(uuid4()), "lines": [{"sku": "CHAIR", "quantity": 3}]}
    post(client, f"purchase/orders/{short['id']}/receive/", receipt, expect=200)
    [received] = get(client, f"purchase/orders/{short['id']}/receipts/")
    assert (received["id"], received["by"]) == (receipt["id"], "ada")
    assert received["lines"] == [{"sku": "CHAIR", "quantity": 3, "reversed": 0}]
    assert post(client, f"purchase/orders/{short['id']}/cancel/", {}, expect=409)["code"] == "purchase_order_cannot_be_cancelled"
    assert post(client, f"purchase/orders/{short['id']}/close-short/", {}, expect=200)["status"] == "closed_short"
    settle()
    reversal = {"receipt_id": receipt["id"], "sku": "CHAIR", "quantity": 1, "reason": "miscounted"}
    post(client, "stock/reversals/", reversal)
    settle()
    [level] = get(client, "stock/levels/")["results"]
    assert level["on_hand"] == 2
    history = get(client, f"purchase/orders/{short['id']}/history/")
    assert [(change["to_status"], change["reason"]) for change in history] == [
        ("open", "the boat is late"),
        ("closed_short", ""),
        ("closed_short", "miscounted"),
    ]
    [line] = get(client, f"purchase/orders/{short['id']}/")["lines"]
    assert (line["quantity"], line["received"]) == (5, 2)
    assert post(client, "stock/reversals/", {**reversal, "quantity": 9}, expect=409)["code"] == "more_than_received"


def test_purchase_orders_are_created_under_ones_own_id(client: APIClient) -> None:
    product("CHAIR")
    body = {"id": str(uuid4()), "reference": "P-1", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    assert post(client, "purchase/orders/", body) == post(client, "purchase/orders/", body)
    problem = post(client, "purchase/orders/", {**body, "lines": [{"sku": "CHAIR", "quantity": 3}]}, expect=409)
    assert problem["code"] == "purchase_order_taken"
    assert len(get(client, "purchase/orders/?status=open")["results"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"lines": [{"sku": "UNKNOWN", "quantity": 1}]}, "unknown_sku"),
        ({"lines": []}, "invalid"),
        ({"lines": [{"sku": "CHAIR", "quantity": 0}]}, "invalid"),
        ({"lines": [{"sku": "CHAIR", "quantity": 1_000_000_001}]}, "invalid"),
        ({"id": "no uuid", "lines": [{"sku": "CHAIR", "quantity": 1}]}, "invalid"),
        ([], "invalid"),
    ],
)
def test_it_rejects_a_bad_order_as_a_problem_with_a_code(client: APIClient, body: Any, code: str) -> None:
    product("CHAIR")
    problem = post(client, "sales/orders/", body, expect=400)
    assert (problem["status"], problem["code"]) == (400, code)
    assert get(client, "sales/orders/")["results"] == []


@pytest.mark.parametrize("path", ["sales/orders/{}/", "sales/orders/{}/history/", "sales/orders/{}/why/", "purchase/orders/{}/"])
def test_what_does_not_exist_is_not_found(client: APIClient, path: str) -> None:
    response = client.get(f"/api/{path.format(uuid4())}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_nobody_delivers_or_receives_what_does_not_exist(client: APIClient) -> None:
    assert post(client, f"sales/orders/{uuid4()}/deliver/", {}, expect=404)["code"] == "no_such_order"
    assert post(client, f"purchase/orders/{uuid4()}/receive/", {}, expect=404)["code"] == "no_such_purchase_order"


def test_it_rejects_a_field_that_nobody_knows_and_does_nothing(client: APIClient) -> None:
    # Seen to fail: with the field ignored, all that is outstanding is received.
    product("CHAIR")
    order = post(client, "purchase/orders/", {"lines": [{"sku": "CHAIR", "quantity": 5}]})
    problem = post(client, f"purchase/orders/{order['id']}/receive/", {"line": [{"sku": "CHAIR", "quantity": 1}]}, expect=400)
    assert problem["errors"] == {"line": ["There is no such field."]}
    assert get(client, f"purchase/orders/{order['id']}/receipts/") == []


def test_it_rejects_a_filter_that_cannot_match(client: APIClient) -> None:
    response = client.get("/api/stock/reservations/?order=abc")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")


def test_it_rejects_a_product_whose_sku_is_taken(client: APIClient) -> None:
    post(client, "catalog/products/", {"sku": "CHAIR", "name": "Oak chair"})
    assert post(client, "catalog/products/", {"sku": "CHAIR", "name": "Other"}, expect=409)["code"] == "sku_taken"
    assert [each["name"] for each in get(client, "catalog/products/")["results"]] == ["Oak chair"]


@pytest.mark.parametrize("path", ["catalog/products/", "sales/orders/", "stock/levels/", "purchase/orders/"])
def test_who_is_not_logged_in_gets_nothing(path: str) -> None:
    response = APIClient().get(f"/api/{path}")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_health_is_for_everybody() -> None:
    response = APIClient().get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"database": "ok", "oldest_overdue_delivery": None, "dead_letters": 0}
