"""The add forms call services; what they create continues like any other order."""

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from orderflow.catalog.models import Product
from purchase.models import PurchaseOrder
from sales.models import OrderStatus, SalesOrder
from stock.models import StockAdjustment, StockLevel
from tests.admin.conftest import (
    add_url,
    adjustment_form,
    client_of,
    page_html,
    page_text,
    page_url,
    place,
    post,
    purchase_order_form,
    receive_all_open,
    sales_order_form,
    staff,
)
from tests.conftest import add_stock, drain_all, product


def test_added_sales_order_is_delivered(superuser: Client) -> None:
    add_stock(chair=5)
    form = sales_order_form((product("chair"), 2), reference="WEB-1", customer="Grace", priority=3)
    response = superuser.post(add_url(SalesOrder), form)
    order = SalesOrder.objects.get()
    assert response.headers["Location"] == page_url(order)
    assert (order.reference, order.customer, order.priority) == ("WEB-1", "Grace", 3)
    assert order.delivery_mode == "automatic"
    drain_all()
    order_status = OrderStatus.objects.get(order=order)
    assert order_status.status == "delivered"
    assert order_status.changes.order_by("id")[0].actor == "olga"
    assert StockLevel.objects.get().on_hand == 3


def test_added_sales_order_with_shortage_awaits_goods(superuser: Client) -> None:
    superuser.post(add_url(SalesOrder), sales_order_form((product("chair"), 2)))
    drain_all()
    assert OrderStatus.objects.get().status == "awaiting_goods_received"
    receive_all_open()
    drain_all()
    assert OrderStatus.objects.get().status == "delivered"


def test_empty_reference_is_generated(superuser: Client) -> None:
    text = post(superuser, add_url(SalesOrder), sales_order_form((product("chair"), 1)))
    order = SalesOrder.objects.get()
    assert order.reference.startswith("SO-")
    assert f"The sales order “{order.reference}” was added successfully." in text


def test_added_purchase_order_can_be_received(superuser: Client) -> None:
    form = purchase_order_form((product("chair"), 4), reference="P-1")
    response = superuser.post(add_url(PurchaseOrder), form)
    order = PurchaseOrder.objects.get(reference="P-1")
    assert response.headers["Location"] == page_url(order)
    assert order.actor == "olga"
    receive_all_open()
    drain_all()
    assert StockLevel.objects.get().on_hand == 4


def test_added_product_can_be_selected_in_orders(superuser: Client) -> None:
    response = superuser.post(add_url(Product), {"sku": " LAMP ", "name": "Desk lamp"})
    lamp = Product.objects.get()
    assert (lamp.sku, lamp.name) == ("LAMP", "Desk lamp")
    assert response.headers["Location"] == page_url(lamp)
    query = {
        "term": "desk",
        "app_label": "sales",
        "model_name": "salesorderline",
        "field_name": "product",
    }
    results = superuser.get(reverse("admin:autocomplete"), query).json()["results"]
    assert results == [{"id": str(lamp.id), "text": "LAMP Desk lamp"}]


def test_added_product_shows_actor_and_time(superuser: Client) -> None:
    superuser.post(add_url(Product), {"sku": "LAMP", "name": "Desk lamp"})
    lamp = Product.objects.get()
    assert lamp.actor == "olga"
    text = page_text(superuser, lamp)
    assert "Actor: olga" in text
    assert "Created at:" in text


@pytest.mark.parametrize(("quantity", "on_hand"), [("7", 12), ("-5", 0), ("+1", 6)])
def test_added_adjustment_changes_stock_level(
    superuser: Client, quantity: str, on_hand: int
) -> None:
    add_stock(chair=5)
    response = superuser.post(add_url(StockAdjustment), adjustment_form("chair", quantity))
    added = StockAdjustment.objects.latest("id")
    assert response.headers["Location"] == page_url(added)
    assert (added.reason, added.actor) == ("counted", "olga")
    assert StockLevel.objects.get().on_hand == on_hand


def test_positive_adjustment_allocates_to_backorder(superuser: Client) -> None:
    order = place(chair=2)
    drain_all()
    superuser.post(add_url(StockAdjustment), adjustment_form("chair", 2))
    drain_all()
    assert OrderStatus.objects.get(order=order).status == "delivered"


@pytest.mark.parametrize("delivery_mode", ["automatic", "manual"])
def test_form_preselects_configured_delivery_mode(
    superuser: Client, settings: Settings, delivery_mode: str
) -> None:
    settings.ORDERFLOW_DELIVERY_MODE = delivery_mode
    page = superuser.get(add_url(SalesOrder)).content.decode()
    assert f'<option value="{delivery_mode}" selected>' in page


def test_adjust_link_of_product_fills_in_product(superuser: Client) -> None:
    add_stock(chair=1)
    link = f"{add_url(StockAdjustment)}?product={product('chair')}"
    assert link in page_html(superuser, Product.objects.get())
    assert f'value="{product("chair")}" selected' in superuser.get(link).content.decode()


def test_each_addition_is_logged_with_user(superuser: Client) -> None:
    chair = product("chair")
    superuser.post(add_url(SalesOrder), sales_order_form((chair, 2), (chair, 1)))
    superuser.post(add_url(PurchaseOrder), purchase_order_form((chair, 1)))
    superuser.post(add_url(Product), {"sku": "LAMP", "name": "Lamp"})
    superuser.post(add_url(StockAdjustment), adjustment_form("chair", 1))
    log = LogEntry.objects.filter(action_flag=ADDITION, user__username="olga")
    added = [
        SalesOrder.objects.get(),
        PurchaseOrder.objects.get(),
        Product.objects.get(sku="LAMP"),
        StockAdjustment.objects.get(),
    ]
    assert {entry.object_id for entry in log} == {str(row.pk) for row in added}
    for row in added:
        assert "Added" in superuser.get(page_url(row, "history")).content.decode()


# -- permissions ---------------------------------------------------------------------------------


def test_permission_to_add_orders_includes_lines(db: None) -> None:
    sam = staff("sam", "add_salesorder")
    line = (product("chair"), 2)
    sam.post(add_url(SalesOrder), sales_order_form(line))
    order = SalesOrder.objects.get()
    assert order.lines.get().quantity == 2
    assert order.order_status.changes.get().actor == "sam"
    assert sam.post(add_url(PurchaseOrder), purchase_order_form(line)).status_code == 403


def test_adding_without_view_permission_redirects_to_index(db: None) -> None:
    adam = User.objects.create_user("adam", is_staff=True)
    adam.user_permissions.add(Permission.objects.get(codename="add_product"))
    response = client_of(adam).post(add_url(Product), {"sku": "LAMP", "name": "Lamp"})
    assert response.headers["Location"] == reverse("admin:index")
    assert Product.objects.exists()
