"""What can be asked about orders to suppliers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from orderflow.findings import Check, check
from purchase.models import STILL_TO_COME, PurchaseOrder, PurchaseOrderChange, PurchaseOrderLine, ReceiptLine
from purchase.receiving import Status


@dataclass(frozen=True, kw_only=True)
class OnOrder:
    """What is still to come of a product with one purchase order, and how much of it was bought for a certain reservation."""

    purchase_order_id: UUID
    purchase_order: str
    product_id: UUID
    quantity: int
    bought_for_it: int
    expected_at: datetime
    overdue: bool


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What somebody decided about a purchase order."""

    id: int
    at: datetime
    purchase_order: str
    what: str
    by: str
    reason: str


def on_order(products: Collection[UUID], reservation_id: UUID) -> list[OnOrder]:
    """What is still to come of these products for a reservation, or for nobody in particular; the earliest expected first."""
    rows = PurchaseOrderLine.objects.filter(
        Q(bought_for=reservation_id) | Q(bought_for__isnull=True),
        product__in=products,
        received__lt=F("quantity"),
        order__status__in=STILL_TO_COME,
    )
    return [
        OnOrder(
            purchase_order_id=line.order_id,
            purchase_order=line.order.reference,
            product_id=line.product_id,
            quantity=line.quantity - line.received,
            bought_for_it=line.quantity - line.received if line.bought_for else 0,
            expected_at=line.order.expected_at,
            overdue=line.order.overdue,
        )
        for line in rows.select_related("order").order_by("order__expected_at", "id")
    ]


def decisions_about(purchase_order_ids: Collection[UUID]) -> list[Decided]:
    rows = PurchaseOrderChange.objects.filter(order__in=purchase_order_ids).select_related("order").order_by("id")
    return [
        Decided(id=row.pk, at=row.at, purchase_order=row.order.reference, what=row.what, by=row.by, reason=row.reason)
        for row in rows
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
