"""What cannot be done is said in the form, which is shown again; nothing is written, and nothing is half done."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client

from orderflow.catalog.models import Product
from orderflow.catalog.services import create_product
from orderflow.messaging.models import StoredMessage
from purchase.models import PurchaseOrder
from sales.models import SalesOrder, SalesOrderLine
from stock.models import Balance, StockAdjustment, StockMovement
from stock.services import Adjustment, NotEnoughAvailable
from tests.admin.conftest import Line, add_url, adjustment, on_the_shelf, place, sales_order, text_of
from tests.conftest import product, settle


def refusal(response: Any) -> str:
    """What the form says is wrong; it is shown again, and nothing was written."""
    assert response.status_code == 200
    assert not LogEntry.objects.exists()
    return " ".join(text_of(str(error)) for error in response.context["errors"])


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        ("0", "greater than or equal to 1"),
        ("-3", "greater than or equal to 1"),
        ("1000000001", "less than or equal to 1000000000"),
        ("9" * 40, "less than or equal to 1000000000"),
        ("1.5", "Enter a whole number"),
        ("many", "Enter a whole number"),
        ("", "This field is required"),
    ],
)
def test_it_rejects_a_quantity_that_is_none(owner: Client, model: type[Model], quantity: str, why: str) -> None:
    response = owner.post(add_url(model), sales_order((product("chair"), quantity)))
    assert why in refusal(response)
    assert not model._default_manager.exists()


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
@pytest.mark.parametrize("lines", [[], [("", "")], [("", ""), ("", "")]])
def test_it_rejects_an_order_without_lines(owner: Client, model: type[Model], lines: list[Line]) -> None:
    response = owner.post(add_url(model), sales_order(*lines, reference="R-1"))
    assert "needs at least one line" in refusal(response)
    assert 'value="R-1"' in response.content.decode()
    assert not model._default_manager.exists()
    assert not StoredMessage.objects.exists()


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
@pytest.mark.parametrize("what", ["no uuid", str(uuid4()), ""])
def test_it_rejects_a_product_that_there_is_not(owner: Client, model: type[Model], what: str) -> None:
    assert refusal(owner.post(add_url(model), sales_order((what, 1))))
    assert not model._default_manager.exists()


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
def test_a_product_that_is_named_twice_is_added_up(owner: Client, model: type[Any]) -> None:
    chair, lamp = product("chair"), product("lamp")
    owner.post(add_url(model), sales_order((chair, 2), ("", ""), (lamp, 1), (chair, 3)))
    assert list(model.objects.get().lines.values_list("product", "quantity")) == [(chair, 5), (lamp, 1)]


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
def test_it_rejects_what_adds_up_to_too_much(owner: Client, model: type[Model]) -> None:
    lines = [(product("chair"), 999_999_999), (product("chair"), 2)]
    assert "not 1,000,000,001" in refusal(owner.post(add_url(model), sales_order(*lines)))
    assert not model._default_manager.exists()


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
def test_it_rejects_a_reference_that_another_order_has(owner: Client, model: type[Model]) -> None:
    chair = product("chair")
    owner.post(add_url(model), sales_order((chair, 1), reference="R-1"))
    LogEntry.objects.all().delete()
    assert "reference" in refusal(owner.post(add_url(model), sales_order((chair, 1), reference="R-1")))
    assert model._default_manager.count() == 1


@pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])
def test_a_form_that_is_sent_twice_makes_one_order(owner: Client, model: type[Model]) -> None:
    form = sales_order((product("chair"), 1), reference="R-1")
    first, second = owner.post(add_url(model), form), owner.post(add_url(model), form)
    assert first.headers["Location"] == second.headers["Location"]
    assert model._default_manager.count() == 1


def test_an_adjustment_that_is_sent_twice_is_booked_once(owner: Client) -> None:
    form = adjustment("chair", 3)
    first, second = owner.post(add_url(StockAdjustment), form), owner.post(add_url(StockAdjustment), form)
    assert first.headers["Location"] == second.headers["Location"]
    assert Balance.objects.get().on_hand == 3


def test_a_form_that_was_sent_and_then_edited_makes_no_second_order(owner: Client) -> None:
    form = sales_order((product("chair"), 1))
    owner.post(add_url(SalesOrder), form)
    LogEntry.objects.all().delete()
    assert "another sales order" in refusal(owner.post(add_url(SalesOrder), form | {"lines-0-quantity": 9}))
    assert SalesOrderLine.objects.get().quantity == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_id", "no uuid"),
        ("new_id", ""),
        ("reference", "x" * 101),
        ("reference", "a\0b"),
        ("customer", "x" * 201),
        ("priority", "9" * 30),
        ("priority", "high"),
        ("delivery", "by pigeon"),
        ("lines-TOTAL_FORMS", "no number"),
    ],
)
def test_it_rejects_what_a_sales_order_cannot_be(owner: Client, field: str, value: str) -> None:
    assert refusal(owner.post(add_url(SalesOrder), sales_order((product("chair"), 1)) | {field: value}))
    assert not SalesOrder.objects.exists()


@pytest.mark.parametrize(
    ("sku", "name", "why"),
    [
        ("chair", "Another chair", "already exists"),
        ("", "Nameless", "required"),
        ("  ", "Nameless", "required"),
        ("LAMP", "", "required"),
        ("x" * 101, "Long", "at most 100"),
    ],
)
def test_it_rejects_what_a_product_cannot_be(owner: Client, sku: str, name: str, why: str) -> None:
    product("chair")
    assert why in refusal(owner.post(add_url(Product), {"sku": sku, "name": name}))
    assert Product.objects.get().name == "Chair"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quantity": 0}, "nothing to book"),
        ({"quantity": ""}, "required"),
        ({"quantity": 1_000_000_001}, "less than or equal to"),
        ({"quantity": -1_000_000_001}, "greater than or equal to"),
        ({"reason": ""}, "required"),
        ({"reason": "x" * 201}, "at most 200"),
        ({"product": ""}, "required"),
        ({"product": uuid4()}, "valid choice"),
        ({"product": "no uuid"}, "not a valid UUID"),
        ({"quantity": -6}, "of 5 on hand 2 are promised, so 3 can"),
        ({"quantity": -4}, "of 5 on hand 2 are promised, so 3 can"),
    ],
)
def test_it_rejects_what_an_adjustment_cannot_be(owner: Client, change: dict[str, object], why: str) -> None:
    on_the_shelf(chair=5)
    place(chair=2, delivery="manual")
    settle()
    before = StockMovement.objects.count()
    assert why in refusal(owner.post(add_url(StockAdjustment), adjustment("chair", 1) | change))
    assert StockMovement.objects.count() == before


# -- what changes between the form's look and the service's -----------------------------------------------------------------


def test_a_product_that_somebody_else_creates_at_that_moment_stays_theirs(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_too_late(sku: str, name: str) -> Product:
        create_product("LAMP", "Their lamp")
        return create_product(sku, name)

    monkeypatch.setattr("orderflow.catalog.admin.create_product", create_too_late)
    assert "another product with the SKU LAMP" in refusal(owner.post(add_url(Product), {"sku": "LAMP", "name": "My lamp"}))


def test_goods_that_are_promised_at_that_moment_cannot_be_taken_away(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def adjust_too_late(adjustments: list[Adjustment], *, by: str) -> None:
        raise NotEnoughAvailable(Balance(on_hand=5, reserved=5), adjustments[0].quantity)

    on_the_shelf(chair=5)
    monkeypatch.setattr("stock.admin.adjust_stock", adjust_too_late)
    assert "so 0 can" in refusal(owner.post(add_url(StockAdjustment), adjustment("chair", -5)))


def test_the_next_form_knows_nothing_of_a_refusal(owner: Client) -> None:
    refusal(owner.post(add_url(SalesOrder), sales_order()))
    assert "needs at least one line" not in owner.get(add_url(SalesOrder)).content.decode()
    owner.post(add_url(SalesOrder), sales_order((product("chair"), 1)))
    assert SalesOrder.objects.exists()
