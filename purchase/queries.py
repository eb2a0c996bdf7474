"""What can be asked about orders to suppliers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from orderflow.findings import Check, check
from purchase.models import STILL_TO_COME, PurchaseOrder, PurchaseOrderLine, ReceiptLine
from purchase.receiving import Status


@dataclass(frozen=True, kw_only=True)
class OrderedLine:
    purchase_order: str
    sku: str
    quantity: int
    received: int


def lines_of(purchase_order_ids: Collection[UUID]) -> list[OrderedLine]:
    rows = PurchaseOrderLine.objects.filter(order__in=purchase_order_ids).order_by("id")
    return [
        OrderedLine(purchase_order=reference, sku=sku, quantity=quantity, received=received)
        for reference, sku, quantity, received in rows.values_list("order__reference", "product__sku", "quantity", "received")
    ]


def references_of(purchase_order_ids: Collection[UUID]) -> dict[UUID, str]:
    return dict(PurchaseOrder.objects.filter(id__in=purchase_order_ids).values_list("id", "reference"))


def open_orders() -> QuerySet[PurchaseOrder, UUID]:
    """The ids of those of which something is still to come."""
    return PurchaseOrder.objects.open().values_list("id", flat=True)


def given_up_before_they_came() -> QuerySet[PurchaseOrder, UUID]:
    """The ids of those that nobody needed any more before Purchase had heard of them: tombstones, without lines."""
    return PurchaseOrder.objects.filter(status=Status.CANCELLED, lines__isnull=True).values_list("id", flat=True)


def received_by_product() -> dict[UUID, int]:
    """What was received, less what was reversed."""
    rows = ReceiptLine.objects.values("line__product").annotate(total=Sum(F("quantity") - F("reversed")))
    return dict(rows.values_list("line__product", "total"))


def pegged_lines() -> Iterator[tuple[UUID, UUID, UUID, int]]:
    """Purchase order, product, peg and quantity of every line that was bought for somebody."""
    rows = PurchaseOrderLine.objects.filter(bought_for__isnull=False)
    for order_id, product_id, bought_for, quantity in rows.values_list("order", "product", "bought_for", "quantity").iterator():
        assert bought_for is not None
        yield order_id, product_id, bought_for, quantity


def checks() -> Iterator[Check]:
    """Purchase's own invariants."""
    lines = PurchaseOrderLine.objects.select_related("order", "product")
    receipts = ReceiptLine.objects.filter(line=OuterRef("pk")).values("line")
    received = receipts.annotate(total=Sum(F("quantity") - F("reversed"))).values("total")
    wrong = lines.annotate(total=Coalesce(Subquery(received), 0)).exclude(received=F("total"))
    yield check("what a line received is the sum of its receipts", (f"{line.order}: {line}" for line in wrong))
    to_come = lines.filter(received__lt=F("quantity")).values("order")
    arrived = lines.filter(received__gt=0).values("order")
    misfits = PurchaseOrder.objects.filter(
        Q(status=Status.RECEIVED, id__in=to_come)
        | (Q(status__in=STILL_TO_COME) & ~Q(id__in=to_come))
        | Q(status=Status.OPEN, id__in=arrived)
        | (Q(status=Status.PARTIALLY_RECEIVED) & ~Q(id__in=arrived))
        | Q(status=Status.CANCELLED, id__in=arrived)
    )
    yield check("a purchase order's status fits its lines", (f"{order}: {order.status}" for order in misfits))
