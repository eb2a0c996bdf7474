from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from orderflow.messaging.models import QueuedMessage
from purchase.contract import PurchaseOrderOverdue
from purchase.services import mark_overdue as mark_overdue_purchase_orders
from purchase.services import reschedule
from sales.contract import SalesOrderOverdue
from sales.models import OrderStatus, SalesOrder
from sales.services import deliver_orders, mark_overdue
from sales.tasks import mark_overdue_orders
from tests.conftest import add_stock, drain_all
from tests.purchase.helpers import published_messages
from tests.sales.helpers import (
    PLACED_AT,
    cancel,
    change,
    linked_purchase_orders,
    manual_order,
    order_status,
    pass_expected_date,
    receive_and_drain,
    sales_order,
    status,
)

pytestmark = pytest.mark.django_db


def set_days_in_status(order: SalesOrder, days: int) -> None:
    changed_at = timezone.now() - timedelta(days=days)
    OrderStatus.objects.filter(order=order).update(status_changed_at=changed_at)


def is_overdue(order: SalesOrder) -> bool:
    return order_status(order).overdue


# -- status limits -------------------------------------------------------------------------------


def test_order_becomes_overdue_once_in_each_status(settings: Settings) -> None:
    settings.ORDERFLOW_STATUS_LIMITS = {
        "awaiting_goods_received": timedelta(days=30),
        "deliverable": timedelta(days=7),
    }
    overdue, on_time = manual_order(chair=2), sales_order(chair=1)
    set_days_in_status(overdue, 31)
    set_days_in_status(on_time, 29)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    assert (is_overdue(overdue), is_overdue(on_time)) == (True, False)
    receive_and_drain(linked_purchase_orders(overdue)[0])
    assert (status(overdue), is_overdue(overdue)) == ("deliverable", False)
    set_days_in_status(overdue, 8)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    assert [event["status"] for event in published_messages(SalesOrderOverdue)] == [
        "awaiting_goods_received",
        "deliverable",
    ]
    deliver_orders([overdue.id], actor="Ada")
    assert not is_overdue(overdue)


def test_limit_of_0_disables_the_check(settings: Settings) -> None:
    settings.ORDERFLOW_STATUS_LIMITS = dict.fromkeys(
        ("awaiting_stock_reservation", "awaiting_goods_received", "deliverable"), timedelta(0)
    )
    set_days_in_status(sales_order(chair=2), 9999)
    assert mark_overdue() == 0
    settings.ORDERFLOW_STATUS_LIMITS["deliverable"] = timedelta(days=1)
    assert mark_overdue() == 0


def test_delivered_order_is_never_overdue() -> None:
    add_stock(chair=2)
    order = sales_order(chair=2)
    set_days_in_status(order, 999)
    assert (mark_overdue(), is_overdue(order)) == (0, False)


def test_cancelled_order_is_never_overdue() -> None:
    order = sales_order(chair=2)
    set_days_in_status(order, 999)
    assert mark_overdue() == 1
    cancel(order)
    set_days_in_status(order, 999)
    assert (mark_overdue(), is_overdue(order)) == (0, False)


def test_all_batches_of_overdue_orders_are_marked(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ORDERFLOW_STATUS_LIMITS = {"awaiting_goods_received": timedelta(days=1)}
    monkeypatch.setattr("sales.services.overdue.OVERDUE_BATCH_SIZE", 2)
    for _ in range(5):
        sales_order(chair=2)
    OrderStatus.objects.update(status_changed_at=PLACED_AT)
    assert [mark_overdue() for _ in range(4)] == [2, 2, 1, 0]
    OrderStatus.objects.update(overdue=False)
    mark_overdue_orders()
    assert OrderStatus.objects.filter(overdue=True).count() == 5


# -- overdue purchase orders ---------------------------------------------------------------------


def test_overdue_purchase_order_marks_its_order_once_per_date() -> None:
    order, other = sales_order(chair=2), sales_order(lamp=1)
    [awaited] = linked_purchase_orders(order)
    for count in (1, 2):
        pass_expected_date(awaited)
        mark_overdue_purchase_orders()
        drain_all()
        assert (is_overdue(order), is_overdue(other)) == (True, False)
        assert len(published_messages(PurchaseOrderOverdue)) == count
        assert len(published_messages(SalesOrderOverdue)) == count
        reschedule(awaited.id, timezone.now() + timedelta(days=1), actor="Ada")
        mark_overdue_purchase_orders()
        drain_all()
        assert not is_overdue(order)


def test_changed_order_stays_overdue_with_overdue_goods() -> None:
    order = sales_order(chair=2)
    pass_expected_date(linked_purchase_orders(order)[0])
    change(order, chair=3)
    assert (status(order), is_overdue(order)) == ("awaiting_goods_received", True)


def test_overdue_purchase_order_does_not_mark_cancelled_order(settings: Settings) -> None:
    settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = "never"
    order = sales_order(chair=2)
    cancel(order)
    pass_expected_date(linked_purchase_orders(order)[0])
    assert not is_overdue(order)
    assert len(published_messages(PurchaseOrderOverdue)) == 1
    assert published_messages(SalesOrderOverdue) == []
    assert not QueuedMessage.objects.exists()
