"""What can be added by hand is made by the services, and goes on as if it had come another way."""

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from orderflow.catalog.models import Product
from purchase.models import PurchaseOrder
from sales.models import OrderStatus, SalesOrder
from stock.models import Balance, StockAdjustment
from tests.admin.conftest import (
    add_url,
    adjustment,
    client_of,
    on_the_shelf,
    order_form,
    page_url,
    place,
    receive_everything_open,
    sales_order,
    staff,
    text_of,
)
from tests.conftest import product, settle


def test_an_added_sales_order_is_delivered(owner: Client) -> None:
    on_the_shelf(chair=5)
    response = owner.post(
        add_url(SalesOrder), sales_order((product("chair"), 2), reference="WEB-1", customer="Grace", priority=3)
    )
    order = SalesOrder.objects.get()
    assert response.headers["Location"] == page_url(order)
    assert (order.reference, order.customer, order.priority, order.delivery) == ("WEB-1", "Grace", 3, "automatic")
    settle()
    assert order.status.state == "delivered"
    assert order.status.changes.order_by("id")[0].by == "olga"
    assert Balance.objects.get().on_hand == 3


def test_an_added_sales_order_that_must_be_bought_awaits_its_goods(owner: Client) -> None:
    owner.post(add_url(SalesOrder), sales_order((product("chair"), 2)))
    settle()
    assert OrderStatus.objects.get().state == "awaiting_goods_received"
    receive_everything_open()
    settle()
    assert OrderStatus.objects.get().state == "delivered"


def test_a_sales_order_without_a_reference_gets_one(owner: Client) -> None:
    answer = owner.post(add_url(SalesOrder), sales_order((product("chair"), 1)), follow=True)
    order = SalesOrder.objects.get()
    assert order.reference.startswith("SO-")
    assert f"The sales order “{order.reference}” was added successfully." in text_of(answer.content.decode())


def test_an_added_purchase_order_is_booked_when_it_arrives(owner: Client) -> None:
    response = owner.post(add_url(PurchaseOrder), order_form((product("chair"), 4), reference="P-1"))
    order = PurchaseOrder.objects.get(reference="P-1")
    assert response.headers["Location"] == page_url(order)
    receive_everything_open()
    settle()
    assert Balance.objects.get().on_hand == 4


def test_an_added_product_can_be_ordered(owner: Client) -> None:
    response = owner.post(add_url(Product), {"sku": " LAMP ", "name": "Desk lamp"})
    lamp = Product.objects.get()
    assert (lamp.sku, lamp.name) == ("LAMP", "Desk lamp")
    assert response.headers["Location"] == page_url(lamp)
    found = owner.get(
        reverse("admin:autocomplete"),
        {"term": "desk", "app_label": "sales", "model_name": "salesorderline", "field_name": "product"},
    )
    assert found.json()["results"] == [{"id": str(lamp.id), "text": "LAMP Desk lamp"}]


@pytest.mark.parametrize(("quantity", "left"), [("7", 12), ("-5", 0), ("+1", 6)])
def test_an_added_stock_adjustment_changes_the_balance(owner: Client, quantity: str, left: int) -> None:
    on_the_shelf(chair=5)
    response = owner.post(add_url(StockAdjustment), adjustment("chair", quantity))
    added = StockAdjustment.objects.latest("id")
    assert response.headers["Location"] == page_url(added)
    assert (added.reason, added.by) == ("counted", "olga")
    assert Balance.objects.get().on_hand == left


def test_goods_that_are_found_serve_who_waits(owner: Client) -> None:
    order = place(chair=2)
    settle()
    owner.post(add_url(StockAdjustment), adjustment("chair", 2))
    settle()
    assert OrderStatus.objects.get(order=order).state == "delivered"


@pytest.mark.parametrize("delivery", ["automatic", "manual"])
def test_the_form_proposes_the_delivery_that_is_set(owner: Client, settings: Settings, delivery: str) -> None:
    settings.ORDERFLOW_DELIVERY = delivery
    page = owner.get(add_url(SalesOrder)).content.decode()
    assert f'<option value="{delivery}" selected>' in page


def test_the_product_to_adjust_is_filled_in_on_the_way_from_its_page(owner: Client) -> None:
    on_the_shelf(chair=1)
    link = f"{add_url(StockAdjustment)}?product={product('chair')}"
    assert link in owner.get(page_url(Product.objects.get())).content.decode()
    assert f'value="{product("chair")}" selected' in owner.get(link).content.decode()


def test_each_addition_is_logged_with_who_made_it(owner: Client) -> None:
    chair = product("chair")
    owner.post(add_url(SalesOrder), sales_order((chair, 2), (chair, 1)))
    owner.post(add_url(PurchaseOrder), order_form((chair, 1)))
    owner.post(add_url(Product), {"sku": "LAMP", "name": "Lamp"})
    owner.post(add_url(StockAdjustment), adjustment("chair", 1))
    log = LogEntry.objects.filter(action_flag=ADDITION, user__username="olga")
    added = [
        SalesOrder.objects.get(),
        PurchaseOrder.objects.get(),
        Product.objects.get(sku="LAMP"),
        StockAdjustment.objects.get(),
    ]
    assert {entry.object_id for entry in log} == {str(row.pk) for row in added}
    for row in added:
        assert "Added" in owner.get(page_url(row, "history")).content.decode()


# -- who may add ----------------------------------------------------------------------------------------------------------


def test_who_may_add_sales_orders_may_add_their_lines(db: None) -> None:
    sam = staff("sam", "add_salesorder")
    sam.post(add_url(SalesOrder), sales_order((product("chair"), 2)))
    order = SalesOrder.objects.get()
    assert order.lines.get().quantity == 2
    assert order.status.changes.get().by == "sam"
    assert sam.post(add_url(PurchaseOrder), order_form((product("chair"), 2))).status_code == 403


def test_who_may_add_but_not_see_comes_back_to_the_start(db: None) -> None:
    adam = User.objects.create_user("adam", is_staff=True)
    adam.user_permissions.add(Permission.objects.get(codename="add_product"))
    response = client_of(adam).post(add_url(Product), {"sku": "LAMP", "name": "Lamp"})
    assert response.headers["Location"] == reverse("admin:index")
    assert Product.objects.exists()
