"""Permissions of each endpoint and group, over HTTP."""

from typing import Any

import pytest
import requests
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from rest_framework.test import APIClient
from rest_framework.throttling import SimpleRateThrottle

from tests.conftest import drain_all, product
from tests.rest.conftest import Api, create_groups, token_of
from tests.rest.endpoints import endpoints

ID = "5d0ca5a6-8e3c-4c4b-9a9e-0c9c1b2f3a4d"
SALES, WAREHOUSE, PURCHASING, AUDIT = "sales", "warehouse", "purchasing", "audit"
GROUPS = (SALES, WAREHOUSE, PURCHASING, AUDIT)
NO_GROUP = "no group"
ANY_USER = {*GROUPS, NO_GROUP}
NONE: set[str] = set()

# The groups that may use each endpoint.
TABLE: dict[tuple[str, str], set[str]] = {
    ("GET", "catalog/products/"): {*GROUPS},
    ("POST", "catalog/products/"): {PURCHASING},
    ("GET", "stock/levels/"): {*GROUPS},
    ("GET", "stock/reservations/"): {*GROUPS},
    ("POST", "stock/adjustments/"): {WAREHOUSE},
    ("POST", "stock/receipt-reversals/"): {WAREHOUSE},
    ("GET", "sales/orders/"): {SALES, WAREHOUSE, AUDIT},
    ("POST", "sales/orders/"): {SALES},
    ("POST", "sales/orders/bulk/"): {SALES},
    ("GET", "sales/orders/{id}/"): {SALES, WAREHOUSE, AUDIT},
    ("GET", "sales/orders/{id}/history/"): {SALES, WAREHOUSE, AUDIT},
    ("GET", "sales/orders/{id}/explanation/"): {SALES, WAREHOUSE, AUDIT},
    ("POST", "sales/orders/{id}/deliver/"): {WAREHOUSE},
    ("POST", "sales/orders/{id}/cancel/"): {SALES},
    ("POST", "sales/orders/{id}/change/"): {SALES},
    ("POST", "sales/orders/{id}/retry/"): {SALES},
    ("GET", "purchase/orders/"): {WAREHOUSE, PURCHASING, AUDIT},
    ("POST", "purchase/orders/"): {PURCHASING},
    ("GET", "purchase/orders/{id}/"): {WAREHOUSE, PURCHASING, AUDIT},
    ("GET", "purchase/orders/{id}/history/"): {WAREHOUSE, PURCHASING, AUDIT},
    ("GET", "purchase/orders/{id}/receipts/"): {WAREHOUSE, PURCHASING, AUDIT},
    ("POST", "purchase/orders/{id}/receive/"): {WAREHOUSE},
    ("POST", "purchase/orders/{id}/cancel/"): {PURCHASING},
    ("POST", "purchase/orders/{id}/close-short/"): {PURCHASING},
    ("POST", "purchase/orders/{id}/reschedule/"): {PURCHASING},
    ("POST", "purchase/external-receipts/"): NONE,
    ("GET", "events/"): {AUDIT},
    ("GET", "schema/"): ANY_USER,
    ("GET", "docs/"): ANY_USER,
}


@pytest.fixture
def groups(transactional_db: None) -> None:
    create_groups()


@pytest.mark.parametrize("group", [*GROUPS, NO_GROUP])
def test_permissions_of_group(groups: None, group: str) -> None:
    client = APIClient(
        headers={
            "authorization": f"Token {token_of('kim', groups=(group,) if group in GROUPS else ())}"
        }
    )
    for (method, path), allowed in TABLE.items():
        url = f"/api/v1/{path.format(id=ID)}"
        response: Any = (
            client.get(url)
            if method == "GET"
            else client.post(url, {"nothing": "known"}, format="json")
        )
        if group in allowed:
            assert response.status_code in (200, 400, 404), (method, path)  # permitted
        else:
            assert (response.status_code, response.json()["code"]) == (403, "permission_denied"), (
                method,
                path,
            )


def test_table_lists_every_endpoint() -> None:
    assert {(method, path) for method, path, _ in endpoints()} == {*TABLE}


def test_anonymous_requests_return_401(transactional_db: None, server: str) -> None:
    anonymous, unknown_token = Api(server, None), Api(server, "0" * 40)
    for method, path in [*TABLE, ("GET", "nothing/"), ("POST", "nothing/")]:
        for api, code in (
            (anonymous, "not_authenticated"),
            (unknown_token, "authentication_failed"),
        ):
            response = api.send(method, path.format(id=ID), json={} if method == "POST" else None)
            assert (response.status_code, response.json()["code"]) == (401, code), (method, path)
            assert response.headers["WWW-Authenticate"] == "Token"
    assert requests.get(f"{server}/healthz", timeout=10).status_code == 200


def test_histories_store_the_actor(groups: None, server: str) -> None:
    product("CHAIR")
    sonja = Api(server, token_of("sonja", groups=(SALES,)))
    wim = Api(server, token_of("wim", groups=(WAREHOUSE,)))
    order = sonja.post(
        "sales/orders/", {"delivery_mode": "manual", "lines": [{"sku": "CHAIR", "quantity": 2}]}
    )
    drain_all()
    waiting = wim.get(f"sales/orders/{order['id']}/")
    wim.post(f"purchase/orders/{waiting['purchase_order_id']}/receive/", {}, expect=200)
    drain_all()
    wim.post(f"sales/orders/{order['id']}/deliver/", {"reason": "fetched"}, expect=200)
    history = sonja.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [(change["to_status"], change["actor"]) for change in history if change["actor"]] == [
        ("awaiting_stock_reservation", "sonja"),
        ("delivered", "wim"),
    ]
    [receipt] = wim.get(f"purchase/orders/{waiting['purchase_order_id']}/receipts/")["results"]
    assert receipt["actor"] == "wim"


def test_session_needs_csrf_token(groups: None) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(get_user_model().objects.create_superuser("ada"))
    assert client.get("/api/v1/sales/orders/").status_code == 200
    response: Any = client.post(
        "/api/v1/catalog/products/", {"sku": "STOOL", "name": "Bar stool"}, format="json"
    )
    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")


def test_migration_creates_groups(transactional_db: None) -> None:
    executor = MigrationExecutor(connection)
    Group.objects.all().delete()
    executor.loader.build_graph()
    executor.migrate([("orderflow", None)])
    executor.loader.build_graph()
    executor.migrate([("orderflow", "0001_groups")])
    assert set(Group.objects.values_list("name", flat=True)) == {*GROUPS}
    warehouse = Group.objects.get(name=WAREHOUSE).permissions.exclude(codename__startswith="view_")
    assert set(warehouse.values_list("codename", flat=True)) == {
        "add_stockadjustment",
        "add_receiptreversal",
        "receive_purchaseorder",
        "deliver_salesorder",
    }


def test_throttled_request_returns_429(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()
    monkeypatch.setattr(
        SimpleRateThrottle, "THROTTLE_RATES", {"user": "2/min", "auth_failures": "2/min"}
    )
    for client, status in (
        (APIClient(headers={"authorization": f"Token {token_of('ada', superuser=True)}"}), 200),
        (APIClient(headers={"authorization": "Token wrong"}), 401),
    ):
        statuses = [client.get("/api/v1/stock/levels/").status_code for _ in range(3)]
        assert statuses == [status, status, 429]
        response: Any = client.get("/api/v1/stock/levels/")
        assert (response.json()["code"], int(response.headers["Retry-After"]) > 0) == (
            "throttled",
            True,
        )
    cache.clear()
