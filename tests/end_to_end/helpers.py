"""Helpers of the end-to-end tests."""

from typing import Any

from django.db.models import Sum

from orderflow.messaging.models import StoredMessage
from orderflow.messaging.queries import is_idle
from orderflow.operations.audit import audit
from purchase.models import PurchaseOrder
from purchase.services import ReceiptDraft, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, place_orders
from stock.models import ReservationLine, StockLevel
from tests.conftest import lines
from tests.end_to_end.conftest import assert_eventually


def place(delivery_mode: str = "automatic", **quantities: int) -> SalesOrder:
    draft = SalesOrderDraft(lines=lines(**quantities), delivery_mode=delivery_mode)
    return place_orders([draft])[0]


def status(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).status


def order_count(status: str) -> int:
    return OrderStatus.objects.filter(status=status).count()


def eventually(order: SalesOrder, expected: str) -> None:
    assert_eventually(lambda: status(order) == expected)


def linked_purchase_order(
    order: SalesOrder, *, after: PurchaseOrder | None = None
) -> PurchaseOrder:
    """Return the awaited purchase order when Purchase has created it; a later one than `after`."""
    awaiting = OrderStatus.objects.filter(order=order, status="awaiting_goods_received")
    if after:
        awaiting = awaiting.exclude(purchase_order_id=after.id)
    rows = PurchaseOrder.objects.filter(id__in=awaiting.values("purchase_order_id"))
    assert_eventually(rows.exists)
    return rows.get()


def receive(purchase_order: PurchaseOrder, **quantities: int) -> None:
    """Receive these quantities by SKU, or everything outstanding."""
    received = lines(**quantities) or None
    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id, lines=received)])


def reserved_quantity(order: SalesOrder) -> int:
    rows = ReservationLine.objects.filter(reservation=order.id)
    total: int = rows.aggregate(total=Sum("reserved"))["total"]
    return total


def level(sku: str) -> tuple[int, int]:
    """Return on hand and reserved."""
    row = StockLevel.objects.get(product__sku=sku)
    return row.on_hand, row.reserved


def assert_invariants() -> None:
    """Wait until every message is handled, then run the audit."""
    assert_eventually(is_idle)
    assert [check for check in audit() if check.violations] == []


def published(message_type: str) -> int:
    """Return how many messages of this type were published."""
    return StoredMessage.objects.filter(type=message_type).count()


def countdowns(order: SalesOrder) -> list[float]:
    """Return the countdowns of its retries."""
    return [payload["countdown"] for payload in _payloads("sales.RetryReservation", order)]


def request_numbers(order: SalesOrder) -> list[int]:
    return [payload["request_number"] for payload in _payloads("stock.MakeReservation", order)]


def ordered_quantities(sku: str) -> list[int]:
    """Return the quantities of its purchase orders, oldest first."""
    rows = PurchaseOrder.objects.filter(lines__product__sku=sku).order_by("ordered_at")
    return list(rows.values_list("lines__quantity", flat=True))


def _payloads(message_type: str, order: SalesOrder) -> list[dict[str, Any]]:
    rows = StoredMessage.objects.filter(type=message_type, key=order.id).order_by("id")
    return list(rows.values_list("payload", flat=True))
