"""Read purchase orders. The functions return values, never querysets."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from orderflow.core.invariants import InvariantCheck, check_invariant
from purchase.lifecycle import OPEN_STATUSES, Status
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    ReceiptLine,
)


@dataclass(frozen=True, kw_only=True)
class OnOrderQuantity:
    """The outstanding quantity of one line of an open purchase order.

    `pegged_quantity`: the same quantity if the line is pegged, else 0.
    """

    purchase_order_id: UUID
    purchase_order_reference: str
    product_id: UUID
    quantity: int
    pegged_quantity: int
    expected_at: datetime
    overdue: bool


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One decision about a purchase order."""

    id: int
    created_at: datetime
    purchase_order_reference: str
    description: str
    actor: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReceivedGoods:
    """The received quantities of one receipt, by SKU.

    `fully_received`: nothing was outstanding after the receipts so far.
    """

    purchase_order_reference: str
    quantities: dict[str, int]
    fully_received: bool


def quantities_on_order(
    product_ids: Collection[UUID], reservation_id: UUID
) -> list[OnOrderQuantity]:
    """Return the quantities on order of these products that can fill this reservation.

    They are pegged to the reservation or not pegged. In the order of the expected dates.
    """
    rows = PurchaseOrderLine.objects.filter(
        Q(pegged_to=reservation_id) | Q(pegged_to__isnull=True),
        product__in=product_ids,
        received__lt=F("quantity"),
        order__status__in=OPEN_STATUSES,
    )
    return [
        OnOrderQuantity(
            purchase_order_id=line.order_id,
            purchase_order_reference=line.order.reference,
            product_id=line.product_id,
            quantity=line.quantity - line.received,
            pegged_quantity=line.quantity - line.received if line.pegged_to else 0,
            expected_at=line.order.expected_at,
            overdue=line.order.overdue,
        )
        for line in rows.select_related("order").order_by("order__expected_at", "id")
    ]


def history_of(purchase_order_ids: Collection[UUID]) -> list[HistoryEntry]:
    """Return the decisions about these purchase orders, oldest first."""
    rows = PurchaseOrderHistoryEntry.objects.filter(order__in=purchase_order_ids)
    return [
        HistoryEntry(
            id=row.pk,
            created_at=row.created_at,
            purchase_order_reference=row.order.reference,
            description=row.description,
            actor=row.actor,
            reason=row.reason,
        )
        for row in rows.select_related("order").order_by("id")
    ]


def references_by_id(purchase_order_ids: Collection[UUID]) -> dict[UUID, str]:
    rows = PurchaseOrder.objects.filter(id__in=purchase_order_ids)
    return dict(rows.values_list("id", "reference"))


def ids_by_reference_or_id(references_or_ids: Collection[str]) -> dict[str, UUID]:
    """Return the ids of purchase orders by reference or id; unknown ones are left out.

    If a text is the reference of one purchase order and the id of another, the reference counts.
    """
    parsed_ids = {name: _as_uuid(name) for name in references_or_ids}
    rows = PurchaseOrder.objects.filter(
        Q(reference__in=references_or_ids)
        | Q(id__in=[parsed_id for parsed_id in parsed_ids.values() if parsed_id])
    )
    id_by_reference = {row.reference: row.id for row in rows}
    existing_ids = set(id_by_reference.values())
    found = {name: id_by_reference.get(name) or parsed_ids[name] for name in references_or_ids}
    return {name: found_id for name, found_id in found.items() if found_id in existing_ids}


def open_purchase_order_ids() -> set[UUID]:
    return set(PurchaseOrder.objects.open().values_list("id", flat=True))


def local_open_purchase_order_ids() -> list[UUID]:
    """Return the ids of the open purchase orders that are not external, oldest first."""
    rows = PurchaseOrder.objects.open().filter(external=False).order_by("ordered_at", "id")
    return list(rows.values_list("id", flat=True))


def received_goods(receipt_ids: Collection[UUID]) -> list[ReceivedGoods]:
    """Return what these receipts recorded, in the order of the ids. All of them must exist."""
    quantities: dict[UUID, dict[str, int]] = {receipt_id: {} for receipt_id in receipt_ids}
    orders: dict[UUID, PurchaseOrder] = {}
    rows = ReceiptLine.objects.filter(receipt__in=receipt_ids).order_by("id")
    for row in rows.select_related("line__product", "receipt__order"):
        by_sku = quantities[row.receipt_id]
        sku = row.line.product.sku
        by_sku[sku] = by_sku.get(sku, 0) + row.quantity
        orders[row.receipt_id] = row.receipt.order
    return [
        ReceivedGoods(
            purchase_order_reference=orders[receipt_id].reference,
            quantities=by_sku,
            fully_received=orders[receipt_id].status == Status.RECEIVED,
        )
        for receipt_id, by_sku in quantities.items()
    ]


def withdrawn_before_creation() -> set[UUID]:
    """Return the ids of purchase orders without lines: withdrawn before they were created."""
    rows = PurchaseOrder.objects.filter(status=Status.CANCELLED, lines__isnull=True)
    return set(rows.values_list("id", flat=True))


def received_by_product() -> dict[UUID, int]:
    """Return the received quantities minus the reversed ones, by product id."""
    rows = ReceiptLine.objects.values("line__product")
    totals = rows.annotate(total=Sum(F("quantity") - F("reversed")))
    return dict(totals.values_list("line__product", "total"))


def pegged_lines() -> Iterator[tuple[UUID, UUID, UUID, int]]:
    """Yield purchase order id, product id, reservation id and quantity of every pegged line."""
    rows = PurchaseOrderLine.objects.filter(pegged_to__isnull=False)
    fields = rows.values_list("order", "product", "pegged_to", "quantity")
    for order_id, product_id, pegged_to, quantity in fields.iterator():
        assert pegged_to is not None
        yield order_id, product_id, pegged_to, quantity


def invariant_checks() -> Iterator[InvariantCheck]:
    """Check the invariants within Purchase."""
    lines = PurchaseOrderLine.objects.select_related("order", "product")
    receipts = ReceiptLine.objects.filter(line=OuterRef("pk")).values("line")
    received = receipts.annotate(total=Sum(F("quantity") - F("reversed"))).values("total")
    different = lines.annotate(total=Coalesce(Subquery(received), 0)).exclude(received=F("total"))
    yield check_invariant(
        "the received quantity of a line equals the sum of its receipts",
        (f"{line.order}: {line}" for line in different),
    )
    with_outstanding = lines.filter(received__lt=F("quantity")).values("order")
    with_received = lines.filter(received__gt=0).values("order")
    contradicting = PurchaseOrder.objects.filter(
        Q(status=Status.RECEIVED, id__in=with_outstanding)
        | (Q(status__in=OPEN_STATUSES) & ~Q(id__in=with_outstanding))
        | Q(status=Status.OPEN, id__in=with_received)
        | (Q(status=Status.PARTIALLY_RECEIVED) & ~Q(id__in=with_received))
        | Q(status=Status.CANCELLED, id__in=with_received)
    )
    yield check_invariant(
        "the status of a purchase order agrees with its lines",
        (f"{order}: {order.status}" for order in contradicting),
    )


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
