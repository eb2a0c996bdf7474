"""Factories of sales orders, what users and suppliers do, and what tests read about orders."""

from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from orderflow.messaging.models import QueuedMessage
from purchase import services as purchase
from purchase.models import PurchaseOrder
from sales.models import LinkedPurchaseOrder, OrderStatus, OrderStatusChange, SalesOrder
from sales.services import SalesOrderDraft, cancel_orders, change_order, place_orders
from tests.conftest import drain_all, lines
from tests.purchase.helpers import receive

PLACED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def sales_order(
    *, delivery_mode: str = "automatic", priority: int = 0, days_later: int = 0, **quantities: int
) -> SalesOrder:
    """Place an order and drain every consumer; `days_later` says when it was placed."""
    draft = SalesOrderDraft(
        lines=lines(**quantities),
        delivery_mode=delivery_mode,
        priority=priority,
        placed_at=PLACED_AT + timedelta(days=days_later),
    )
    [order] = place_orders([draft])
    drain_all()
    return order


def manual_order(*, days_later: int = 0, **quantities: int) -> SalesOrder:
    return sales_order(delivery_mode="manual", days_later=days_later, **quantities)


def needing_attention(*, chair: int) -> SalesOrder:
    """Return an order at the purchase limit: the supplier cancelled four purchase orders."""
    order = sales_order(chair=chair)
    for count in range(1, 5):
        assert len(linked_purchase_orders(order)) == count
        assert status(order) == "awaiting_goods_received"
        purchase.cancel_purchase_orders([linked_purchase_orders(order)[-1].id], actor="Ada")
        drain_all()
        run_scheduled_messages()
    assert status(order) == "awaiting_stock_reservation"
    assert order_status(order).needs_attention
    return order


# -- decisions and time; each drains every consumer ----------------------------------------------


def cancel(order: SalesOrder) -> None:
    cancel_orders([order.id], actor="Ada", reason="customer changed plans")
    drain_all()


def change(order: SalesOrder, **quantities: int) -> None:
    change_order(order.id, lines(**quantities), actor="Ada", reason="customer changed plans")
    drain_all()


def receive_and_drain(purchase_order: PurchaseOrder, **quantities: int) -> None:
    receive(purchase_order, **quantities)
    drain_all()


def pass_expected_date(purchase_order: PurchaseOrder) -> None:
    """Set the expected date to now, then mark overdue purchase orders."""
    purchase.reschedule(purchase_order.id, timezone.now(), actor="Ada")
    purchase.mark_overdue()
    drain_all()


def run_scheduled_messages() -> None:
    QueuedMessage.objects.update(due_at=timezone.now())
    drain_all()


# -- state ---------------------------------------------------------------------------------------


def order_status(order: SalesOrder) -> OrderStatus:
    return OrderStatus.objects.get(order=order)


def status(order: SalesOrder) -> str:
    return order_status(order).status


def history(order: SalesOrder) -> QuerySet[OrderStatusChange]:
    return OrderStatusChange.objects.filter(order_status=order.pk)


def linked_purchase_orders(order: SalesOrder) -> list[PurchaseOrder]:
    """Return the purchase orders that Purchase created for the order, oldest first."""
    rows = LinkedPurchaseOrder.objects.filter(order_status=order.pk).order_by("request_number")
    return [PurchaseOrder.objects.get(id=row.pk) for row in rows]


def ordered_quantities(order: SalesOrder) -> list[dict[str, int]]:
    """Return the quantities of each linked purchase order by SKU, oldest first."""
    return [
        dict(each.lines.values_list("product__sku", "quantity"))
        for each in linked_purchase_orders(order)
    ]
