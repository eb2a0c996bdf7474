"""Read sales orders and their processes. The functions return values, never querysets."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from orderflow.core.invariants import InvariantCheck, check_invariant
from orderflow.core.quantities import ProductQuantity
from sales.models import (
    DeliveryMode,
    LinkedPurchaseOrder,
    LinkedPurchaseOrderLine,
    OrderStatus,
    OrderStatusChange,
    SalesOrder,
    SalesOrderLine,
)
from sales.process_manager import STORED_STATUSES, Status

STATUS_CHOICES = tuple((status.value, status.label) for status in STORED_STATUSES)
DELIVERY_MODES = tuple(DeliveryMode.values)


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One change of status. `actor` and `reason` are empty if a message caused it."""

    id: int
    created_at: datetime
    status: Status
    actor: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderProcess:
    """A sales order and its process.

    `linked_purchase_orders`: ids, oldest first. `changes`: oldest first.
    """

    id: UUID
    reference: str
    customer: str
    status: Status
    status_changed_at: datetime
    overdue: bool
    needs_attention: bool
    purchase_count: int
    request_number: int
    purchase_order_id: UUID | None
    linked_purchase_orders: tuple[UUID, ...]
    changes: tuple[StatusChange, ...]


def find_order_process(reference_or_id: str) -> OrderProcess | None:
    """Return the process of the sales order with this reference or id, or None."""
    matches = Q(order__reference=reference_or_id)
    if _is_uuid(reference_or_id):
        matches |= Q(order_id=reference_or_id)
    row = OrderStatus.objects.filter(matches).select_related("order").first()
    if row is None:
        return None
    linked = row.linked_purchase_orders.order_by("ordered_at")
    return OrderProcess(
        id=row.order_id,
        reference=row.order.reference,
        customer=row.order.customer,
        status=Status(row.status),
        status_changed_at=row.status_changed_at,
        overdue=row.overdue,
        needs_attention=row.needs_attention,
        purchase_count=row.purchase_count,
        request_number=row.request_number,
        purchase_order_id=row.purchase_order_id,
        linked_purchase_orders=tuple(linked.values_list("purchase_order_id", flat=True)),
        changes=tuple(_status_change(change) for change in row.changes.all()),
    )


def reference_for_key(key: UUID) -> str | None:
    """Return the reference of the sales order with this id or linked purchase order, or None."""
    linked = LinkedPurchaseOrder.objects.filter(pk=key).values("order_status")
    rows = SalesOrder.objects.filter(Q(pk=key) | Q(pk__in=linked))
    return rows.values_list("reference", flat=True).first()


def lines_by_reference(references: Collection[str]) -> dict[str, set[ProductQuantity]]:
    """Return the lines of the sales orders with these references; unknown ones are left out."""
    rows = SalesOrderLine.objects.filter(order__reference__in=references)
    lines: dict[str, set[ProductQuantity]] = defaultdict(set)
    for reference, product_id, quantity in rows.values_list(
        "order__reference", "product_id", "quantity"
    ):
        lines[reference].add(ProductQuantity(product_id=product_id, quantity=quantity))
    return lines


def order_count() -> int:
    return OrderStatus.objects.count()


def order_ids_with_status(*statuses: str) -> set[UUID]:
    """Return the ids of the sales orders in these statuses."""
    rows = OrderStatus.objects.filter(status__in=[Status(status) for status in statuses])
    return set(rows.values_list("order_id", flat=True))


def order_ids_needing_attention() -> set[UUID]:
    rows = OrderStatus.objects.filter(needs_attention=True)
    return set(rows.values_list("order_id", flat=True))


def awaited_purchase_orders() -> dict[UUID, UUID]:
    """Return the ids of sales orders by the id of the purchase order that they await."""
    rows = OrderStatus.objects.filter(status=Status.AWAITING_GOODS_RECEIVED)
    pairs = rows.values_list("purchase_order_id", "order_id")
    return {
        purchase_order_id: order_id for purchase_order_id, order_id in pairs if purchase_order_id
    }


def open_linked_purchase_orders() -> dict[UUID, UUID]:
    """Return the ids of sales orders by the id of each open linked purchase order."""
    rows = LinkedPurchaseOrder.objects.filter(closed_by_message_id__isnull=True)
    return dict(rows.values_list("purchase_order_id", "order_status_id"))


def closing_message_ids() -> dict[UUID, int | None]:
    """Return the id of the message that closed each linked purchase order; None if it is open."""
    rows = LinkedPurchaseOrder.objects.values_list("purchase_order_id", "closed_by_message_id")
    return dict(rows)


def lines_on_order() -> Iterator[tuple[UUID, UUID, int]]:
    """Yield sales order id, product id and quantity on order, of orders that await goods."""
    rows = LinkedPurchaseOrderLine.objects.filter(
        linked_purchase_order__closed_by_message_id__isnull=True,
        linked_purchase_order__order_status__status=Status.AWAITING_GOODS_RECEIVED,
    ).order_by()
    yield from rows.values_list(
        "linked_purchase_order__order_status", "product", "quantity"
    ).iterator()


def ordered_lines() -> Iterator[tuple[UUID, UUID, int, int]]:
    """Yield sales order id, product id, quantity and revision, except of cancelled orders."""
    rows = SalesOrderLine.objects.exclude(order__order_status__status=Status.CANCELLED).order_by()
    yield from rows.values_list(
        "order", "product", "quantity", "order__order_status__revision"
    ).iterator()


def invariant_checks() -> Iterator[InvariantCheck]:
    """Check the invariants within Sales."""
    yield check_invariant(
        "every sales order has a status", SalesOrder.objects.filter(order_status__isnull=True)
    )
    last = OrderStatusChange.objects.filter(order_status=OuterRef("pk")).order_by("-id")
    statuses = OrderStatus.objects.select_related("order").annotate(
        last=Coalesce(Subquery(last.values("to_status")[:1]), Value(""))
    )
    yield check_invariant(
        "every status equals the last history entry", statuses.exclude(status=F("last"))
    )
    awaited = LinkedPurchaseOrder.objects.filter(
        order_status=OuterRef("pk"),
        purchase_order_id=OuterRef("purchase_order_id"),
        closed_by_message_id__isnull=True,
    )
    yield check_invariant(
        "every order awaiting goods has an open linked purchase order",
        statuses.filter(status=Status.AWAITING_GOODS_RECEIVED).exclude(Exists(awaited)),
    )


def _status_change(row: OrderStatusChange) -> StatusChange:
    return StatusChange(
        id=row.pk,
        created_at=row.created_at,
        status=Status(row.to_status),
        actor=row.actor,
        reason=row.reason,
    )


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
