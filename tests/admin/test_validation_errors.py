"""Rejected values are shown in the add form again, and no changes are made."""

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
from stock.models import StockAdjustment, StockLevel, StockMovement
from stock.services import Adjustment, InsufficientStock
from tests.admin.conftest import (
    Line,
    add_url,
    adjustment_form,
    place,
    sales_order_form,
    text_of,
)
from tests.conftest import add_stock, drain_all, product

both_orders = pytest.mark.parametrize("model", [SalesOrder, PurchaseOrder])


def errors(client: Client, model: type[Model], form: dict[str, Any]) -> str:
    """Post an add form, check that nothing was added, and return its errors."""
    LogEntry.objects.all().delete()
    response = client.post(add_url(model), form)
    assert response.status_code == 200
    assert not LogEntry.objects.exists()
    return " ".join(text_of(str(error)) for error in response.context["errors"])


def locations_of_two_posts(client: Client, model: type[Model], form: dict[str, Any]) -> set[str]:
    return {client.post(add_url(model), form).headers["Location"] for _ in range(2)}


# -- orders --------------------------------------------------------------------------------------


@both_orders
@pytest.mark.parametrize(
    ("quantity", "error"),
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
def test_rejects_invalid_quantity(
    superuser: Client, model: type[Model], quantity: str, error: str
) -> None:
    assert error in errors(superuser, model, sales_order_form((product("chair"), quantity)))
    assert not model._default_manager.exists()


@both_orders
@pytest.mark.parametrize("lines", [[], [("", "")], [("", ""), ("", "")]])
def test_rejects_order_without_lines(
    superuser: Client, model: type[Model], lines: list[Line]
) -> None:
    form = sales_order_form(*lines, reference="R-1")
    assert "At least one line is required." in errors(superuser, model, form)
    assert 'value="R-1"' in superuser.post(add_url(model), form).content.decode()
    assert not model._default_manager.exists()
    assert not StoredMessage.objects.exists()


@both_orders
@pytest.mark.parametrize("product_id", ["no uuid", str(uuid4()), ""])
def test_rejects_unknown_product(superuser: Client, model: type[Model], product_id: str) -> None:
    assert errors(superuser, model, sales_order_form((product_id, 1)))
    assert not model._default_manager.exists()


@both_orders
def test_lines_of_one_product_are_added_up(superuser: Client, model: type[Any]) -> None:
    chair, lamp = product("chair"), product("lamp")
    form = sales_order_form((chair, 2), ("", ""), (lamp, 1), (chair, 3))
    superuser.post(add_url(model), form)
    lines = model.objects.get().lines.values_list("product", "quantity")
    assert list(lines) == [(chair, 5), (lamp, 1)]


@both_orders
def test_rejects_sum_above_maximum_quantity(superuser: Client, model: type[Model]) -> None:
    chair = product("chair")
    form = sales_order_form((chair, 999_999_999), (chair, 2))
    assert "The quantity is 1,000,000,001." in errors(superuser, model, form)
    assert not model._default_manager.exists()


@both_orders
def test_rejects_existing_reference(superuser: Client, model: type[Model]) -> None:
    line = (product("chair"), 1)
    superuser.post(add_url(model), sales_order_form(line, reference="R-1"))
    form = sales_order_form(line, reference="R-1")
    assert "has the reference R-1" in errors(superuser, model, form)
    assert model._default_manager.count() == 1


@both_orders
def test_repeated_order_form_creates_one_order(superuser: Client, model: type[Model]) -> None:
    form = sales_order_form((product("chair"), 1), reference="R-1")
    assert len(locations_of_two_posts(superuser, model, form)) == 1
    assert model._default_manager.count() == 1


def test_rejects_repeated_order_form_with_other_lines(superuser: Client) -> None:
    form = sales_order_form((product("chair"), 1))
    superuser.post(add_url(SalesOrder), form)
    edited = form | {"lines-0-quantity": 9}
    assert "Another sales order has the id" in errors(superuser, SalesOrder, edited)
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
        ("delivery_mode", "by post"),
        ("lines-TOTAL_FORMS", "no number"),
    ],
)
def test_rejects_invalid_sales_order(superuser: Client, field: str, value: str) -> None:
    form = sales_order_form((product("chair"), 1)) | {field: value}
    assert errors(superuser, SalesOrder, form)
    assert not SalesOrder.objects.exists()


# -- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sku", "name", "error"),
    [
        ("chair", "Another chair", "already exists"),
        ("", "No SKU", "required"),
        ("  ", "No SKU", "required"),
        ("LAMP", "", "required"),
        ("x" * 101, "Long", "at most 100"),
    ],
)
def test_rejects_invalid_product(superuser: Client, sku: str, name: str, error: str) -> None:
    product("chair")
    assert error in errors(superuser, Product, {"sku": sku, "name": name})
    assert Product.objects.get().name == "Chair"


# -- stock adjustments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"quantity": 0}, "Quantity must not be 0."),
        ({"quantity": ""}, "required"),
        ({"quantity": 1_000_000_001}, "less than or equal to"),
        ({"quantity": -1_000_000_001}, "greater than or equal to"),
        ({"reason": ""}, "required"),
        ({"reason": "x" * 201}, "at most 200"),
        ({"product": ""}, "required"),
        ({"product": uuid4()}, "valid choice"),
        ({"product": "no uuid"}, "not a valid UUID"),
        ({"quantity": -6}, "5 on hand, 2 reserved, 3 available"),
        ({"quantity": -4}, "5 on hand, 2 reserved, 3 available"),
    ],
)
def test_rejects_invalid_adjustment(
    superuser: Client, fields: dict[str, object], error: str
) -> None:
    add_stock(chair=5)
    place(chair=2, delivery_mode="manual")
    drain_all()
    count = StockMovement.objects.count()
    form = adjustment_form("chair", 1) | fields
    assert error in errors(superuser, StockAdjustment, form)
    assert StockMovement.objects.count() == count


def test_repeated_adjustment_form_is_recorded_once(superuser: Client) -> None:
    form = adjustment_form("chair", 3)
    assert len(locations_of_two_posts(superuser, StockAdjustment, form)) == 1
    assert StockLevel.objects.get().on_hand == 3


# -- changes between the validation of the form and the service ----------------------------------


def test_rejects_product_created_concurrently(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_too_late(sku: str, name: str, *, actor: str) -> Product:
        create_product("LAMP", "Their lamp")
        return create_product(sku, name, actor=actor)

    monkeypatch.setattr("orderflow.catalog.admin.create_product", create_too_late)
    form = {"sku": "LAMP", "name": "My lamp"}
    assert "Another product has the SKU LAMP." in errors(superuser, Product, form)


def test_rejects_adjustment_of_concurrently_reserved_goods(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adjust_too_late(adjustments: list[Adjustment], *, actor: str) -> None:
        level = StockLevel.objects.get()
        level.reserved = level.on_hand
        raise InsufficientStock("remove", level, -adjustments[0].quantity)

    add_stock(chair=5)
    monkeypatch.setattr("stock.admin.adjust_stock", adjust_too_late)
    form = adjustment_form("chair", -5)
    assert ", 0 available" in errors(superuser, StockAdjustment, form)


def test_error_is_not_shown_in_the_next_form(superuser: Client) -> None:
    assert errors(superuser, SalesOrder, sales_order_form())
    page = superuser.get(add_url(SalesOrder)).content.decode()
    assert "At least one line is required." not in page
    superuser.post(add_url(SalesOrder), sales_order_form((product("chair"), 1)))
    assert SalesOrder.objects.exists()
