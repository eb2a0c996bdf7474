"""Who may call what, cell by cell, over HTTP."""

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

from tests.conftest import product, settle
from tests.rest.addresses import addresses
from tests.rest.conftest import Api, create_groups, token_of

ID = "5d0ca5a6-8e3c-4c4b-9a9e-0c9c1b2f3a4d"
SALES, WAREHOUSE, PURCHASING, AUDITOR = "sales", "warehouse", "purchasing", "auditor"
GROUPS = (SALES, WAREHOUSE, PURCHASING, AUDITOR)
EVERYBODY = {*GROUPS, "nobody's"}  # whoever is known, also without a group
NOBODY: set[str] = set()

# Which groups may call what. Whoever is not known gets 401 everywhere.
TABLE: dict[tuple[str, str], set[str]] = {
    ("GET", "catalog/products/"): {*GROUPS},
    ("POST", "catalog/products/"): {PURCHASING},
    ("GET", "stock/levels/"): {*GROUPS},
    ("GET", "stock/reservations/"): {*GROUPS},
    ("POST", "stock/adjustments/"): {WAREHOUSE},
    ("POST", "stock/reversals/"): {WAREHOUSE},
    ("GET", "sales/orders/"): {SALES, WAREHOUSE, AUDITOR},
    ("POST", "sales/orders/"): {SALES},
    ("POST", "sales/orders/bulk/"): {SALES},
    ("GET", "sales/orders/{id}/"): {SALES, WAREHOUSE, AUDITOR},
    ("GET", "sales/orders/{id}/history/"): {SALES, WAREHOUSE, AUDITOR},
    ("GET", "sales/orders/{id}/why/"): {SALES, WAREHOUSE, AUDITOR},
    ("POST", "sales/orders/{id}/deliver/"): {WAREHOUSE},
    ("POST", "sales/orders/{id}/cancel/"): {SALES},
    ("POST", "sales/orders/{id}/change/"): {SALES},
    ("POST", "sales/orders/{id}/try-again/"): {SALES},
    ("GET", "purchase/orders/"): {WAREHOUSE, PURCHASING, AUDITOR},
    ("POST", "purchase/orders/"): {PURCHASING},
    ("GET", "purchase/orders/{id}/"): {WAREHOUSE, PURCHASING, AUDITOR},
    ("GET", "purchase/orders/{id}/history/"): {WAREHOUSE, PURCHASING, AUDITOR},
    ("GET", "purchase/orders/{id}/receipts/"): {WAREHOUSE, PURCHASING, AUDITOR},
    ("POST", "purchase/orders/{id}/receive/"): {WAREHOUSE},
    ("POST", "purchase/orders/{id}/cancel/"): {PURCHASING},
    ("POST", "purchase/orders/{id}/close-short/"): {PURCHASING},
    ("POST", "purchase/orders/{id}/expect/"): {PURCHASING},
    ("POST", "purchase/remote-receipts/"): NOBODY,
    ("GET", "events/"): {AUDITOR},
    ("GET", "schema/"): EVERYBODY,
    ("GET", "docs/"): EVERYBODY,
}


@pytest.fixture
def groups(transactional_db: None) -> None:
    create_groups()


@pytest.mark.parametrize("who", [*GROUPS, "nobody's"])
def test_who_may_call_what(groups: None, who: str) -> None:
    client = APIClient(headers={"authorization": f"Token {token_of('kim', groups=(who,) if who in GROUPS else ())}"})
    for (method, path), allowed in TABLE.items():
        address = f"/api/{path.format(id=ID)}"
        response: Any = client.get(address) if method == "GET" else client.post(address, {"nothing": "known"}, format="json")
        if who in allowed:
            assert response.status_code in (200, 400, 404), (method, path)  # it is looked at
        else:
            assert (response.status_code, response.json()["code"]) == (403, "permission_denied"), (method, path)


def test_every_address_is_in_the_table() -> None:
    assert {(method, path) for method, path, _ in addresses()} == {*TABLE}


def test_anonymous_gets_401_everywhere_but_for_health(transactional_db: None, server: str) -> None:
    stranger, impostor = Api(server, None), Api(server, "0" * 40)
    for method, path in [*TABLE, ("GET", "nothing/"), ("POST", "nothing/")]:
        for api, code in ((stranger, "not_authenticated"), (impostor, "authentication_failed")):
            response = api.send(method, path.format(id=ID), json={} if method == "POST" else None)
            assert (response.status_code, response.json()["code"]) == (401, code), (method, path)
            assert response.headers["WWW-Authenticate"] == "Token"
    assert requests.get(f"{server}/healthz", timeout=10).status_code == 200


def test_what_the_warehouse_receives_and_delivers_is_noted_with_a_name(groups: None, server: str) -> None:
    product("CHAIR")
    sonja = Api(server, token_of("sonja", groups=(SALES,)))
    wim = Api(server, token_of("wim", groups=(WAREHOUSE,)))
    order = sonja.post("sales/orders/", {"delivery": "manual", "lines": [{"sku": "CHAIR", "quantity": 2}]})
    settle()
    waiting = wim.get(f"sales/orders/{order['id']}/")
    wim.post(f"purchase/orders/{waiting['purchase_order_id']}/receive/", {}, expect=200)
    settle()
    wim.post(f"sales/orders/{order['id']}/deliver/", {"reason": "fetched"}, expect=200)
    history = sonja.get(f"sales/orders/{order['id']}/history/")["results"]
    assert [(change["to_state"], change["by"]) for change in history if change["by"]] == [
        ("awaiting_stock_reservation", "sonja"),
        ("delivered", "wim"),
    ]
    [receipt] = wim.get(f"purchase/orders/{waiting['purchase_order_id']}/receipts/")["results"]
    assert receipt["by"] == "wim"


def test_a_session_will_do_but_not_without_its_csrf_token(groups: None) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(get_user_model().objects.create_superuser("ada"))
    assert client.get("/api/sales/orders/").status_code == 200
    response: Any = client.post("/api/catalog/products/", {"sku": "STOOL", "name": "Bar stool"}, format="json")
    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")


def test_the_migration_makes_the_groups(transactional_db: None) -> None:
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


def test_who_asks_too_much_has_to_wait(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", {"user": "2/min", "failures": "2/min"})
    for client, otherwise in (
        (APIClient(headers={"authorization": f"Token {token_of('ada', superuser=True)}"}), 200),
        (APIClient(headers={"authorization": "Token wrong"}), 401),
    ):
        statuses = [client.get("/api/stock/levels/").status_code for _ in range(3)]
        assert statuses == [otherwise, otherwise, 429]
        response: Any = client.get("/api/stock/levels/")
        assert (response.json()["code"], int(response.headers["Retry-After"]) > 0) == ("throttled", True)
    cache.clear()
