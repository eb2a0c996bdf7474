"""Repeated and concurrent requests with the same key or id have one effect."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from orderflow.api.models import IdempotencyRecord
from orderflow.api.tasks import delete_expired_records
from purchase.models import PurchaseOrder, Receipt
from sales.models import SalesOrder
from tests.conftest import drain_all, product
from tests.rest.conftest import Api, token_of

ORDER = {"lines": [{"sku": "CHAIR", "quantity": 2}]}


@pytest.fixture(autouse=True)
def chairs(api: Api) -> None:
    product("CHAIR")


def test_repeated_key_returns_the_identical_response(api: Api) -> None:
    first, again = (
        api.send("POST", "sales/orders/", json=ORDER, headers={"Idempotency-Key": "k-1"})
        for _ in range(2)
    )
    drain_all()
    later = api.send("POST", "sales/orders/", json=ORDER, headers={"Idempotency-Key": "k-1"})
    assert (
        (first.status_code, first.content)
        == (again.status_code, again.content)
        == (later.status_code, later.content)
    )
    assert ("Idempotent-Replayed" in first.headers, later.headers["Idempotent-Replayed"]) == (
        False,
        "true",
    )
    assert SalesOrder.objects.count() == 1


def test_key_ignores_formatting_of_the_body(api: Api) -> None:
    headers = {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    first = api.send(
        "POST",
        "sales/orders/",
        data='{"customer": "Ada", "lines": [{"sku": "CHAIR", "quantity": 2}]}',
        headers=headers,
    )
    again = api.send(
        "POST",
        "sales/orders/",
        data='{"lines":[{"quantity":2,"sku":"CHAIR"}],"customer":"Ada"}',
        headers=headers,
    )
    assert first.json() == again.json()


def test_rejects_reused_key_with_other_body_or_path(api: Api) -> None:
    api.post("sales/orders/", ORDER, key="k-1")
    assert (
        api.post("sales/orders/", {**ORDER, "customer": "Ada"}, key="k-1", expect=422)["code"]
        == "idempotency_key_reused"
    )
    assert (
        api.post("purchase/orders/", ORDER, key="k-1", expect=422)["code"]
        == "idempotency_key_reused"
    )
    assert SalesOrder.objects.count() == 1


def test_keys_of_different_users_are_independent(api: Api, server: str) -> None:
    bob = Api(server, token_of("bob", superuser=True))
    assert api.post("sales/orders/", ORDER, key="k-1") != bob.post(
        "sales/orders/", ORDER, key="k-1"
    )
    assert SalesOrder.objects.count() == 2


def test_rejection_is_stored_under_the_key(api: Api) -> None:
    order = api.post("sales/orders/", {**ORDER, "delivery_mode": "manual"})
    rejected = api.post(f"sales/orders/{order['id']}/deliver/", {}, key="k-1", expect=409)
    api.post("stock/adjustments/", {"sku": "CHAIR", "quantity": 5, "reason": "found"})
    drain_all()
    assert api.get(f"sales/orders/{order['id']}/")["status"] == "deliverable"
    assert api.post(f"sales/orders/{order['id']}/deliver/", {}, key="k-1", expect=409) == rejected
    assert (
        api.post(f"sales/orders/{order['id']}/deliver/", {}, key="k-2", expect=200)["status"]
        == "delivered"
    )


def test_key_makes_receipt_without_id_repeatable(api: Api) -> None:
    order = api.post("purchase/orders/", ORDER)
    part = {"lines": [{"sku": "CHAIR", "quantity": 1}]}
    received = [
        api.post(f"purchase/orders/{order['id']}/receive/", part, key="k-1", expect=200)
        for _ in range(2)
    ]
    assert received[0] == received[1]
    assert Receipt.objects.count() == 1


def test_concurrent_requests_with_one_key_have_one_effect(api: Api) -> None:
    # Seen failing when the record is not read after the claim: eight orders.
    for number in range(5):
        with ThreadPoolExecutor(8) as pool:
            sent = [
                pool.submit(api.post, "sales/orders/", ORDER, key=f"k-{number}") for _ in range(8)
            ]
        results = Counter(each.result()["id"] for each in sent)
        assert list(results.values()) == [8]
    assert SalesOrder.objects.count() == 5


@pytest.mark.parametrize("path", ["sales/orders/", "purchase/orders/", "sales/orders/bulk/"])
def test_concurrent_requests_with_one_id_have_one_effect(api: Api, path: str) -> None:
    # Seen failing when the id is read before the other commit and the reference after it.
    for _ in range(8):
        order = {**ORDER, "id": str(uuid4())}
        body, expect = ({"orders": [order]}, 200) if "bulk" in path else (order, 201)
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(api.post, path, body, expect=expect) for _ in range(8)]
        results = [each.result() for each in sent]
        assert {
            each["results"][0]["sales_order"]["id"] if "results" in each else each["id"]
            for each in results
        } == {order["id"]}
    assert (SalesOrder if "sales" in path else PurchaseOrder).objects.count() == 8


def test_rejects_other_content_with_the_same_id(api: Api) -> None:
    known = str(uuid4())
    order = {"id": known, "reference": "P-1", **ORDER}
    adjustment = {"id": known, "sku": "CHAIR", "quantity": 5, "reason": "found"}
    for path, body, changes in (
        ("purchase/orders/", order, {"reference": "P-2"}),
        ("sales/orders/", order, {"customer": "Ada"}),
        ("stock/adjustments/", adjustment, {"reason": "counted"}),
        ("stock/adjustments/", adjustment, {"quantity": 4}),
    ):
        api.post(path, body)
        assert api.post(path, {**body, **changes}, expect=409)["code"].endswith("_already_exists")
    receive, receipt = (
        f"purchase/orders/{known}/receive/",
        {"id": known, "lines": [{"sku": "CHAIR", "quantity": 1}]},
    )
    assert api.post(receive, receipt, expect=200) == api.post(receive, receipt, expect=200)
    assert (
        api.post(receive, {**receipt, "reason": "on time"}, expect=409)["code"]
        == "receipt_already_exists"
    )


def test_records_expire_after_24_hours(api: Api) -> None:
    first = api.post("sales/orders/", ORDER, key="k-1")
    api.post("sales/orders/", ORDER, key="k-2")
    IdempotencyRecord.objects.filter(key="k-1").update(
        created_at=timezone.now() - timedelta(hours=24, seconds=1)
    )
    assert api.post("sales/orders/", ORDER, key="k-1") != first
    IdempotencyRecord.objects.filter(key="k-1").update(
        created_at=timezone.now() - timedelta(hours=24, seconds=1)
    )
    delete_expired_records()
    assert list(IdempotencyRecord.objects.values_list("key", flat=True)) == ["k-2"]
