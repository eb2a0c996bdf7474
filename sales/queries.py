"""What can be asked about sales orders and their processes."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from orderflow.catalog.quantities import ProductQuantity
from orderflow.findings import Check, check
from sales.models import OrderPurchase, OrderPurchaseLine, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.process_manager import AG, CX, State


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One change of state. `by`: the person who caused it, if one did, for that `reason`."""

    id: int
    at: datetime
    state: State
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderProcess:
    """A sales order and how far its process is. `purchases`: the ids of the purchase orders that were made for it."""

    id: UUID
    reference: str
    customer: str
    state: State
    since: datetime
    overdue: bool
    needs_attention: bool
    times_bought: int
    request: int
    purchase_order_id: UUID | None
    purchases: tuple[UUID, ...]
    changes: tuple[Changed, ...]


def process_called(name: str) -> OrderProcess | None:
    """The process of the sales order with this reference or id."""
    by_name = Q(order__reference=name)
    if _is_id(name):
        by_name |= Q(order_id=name)
    status = OrderStatus.objects.filter(by_name).select_related("order").first()
    if status is None:
        return None
    return OrderProcess(
        id=status.order_id,
        reference=status.order.reference,
        customer=status.order.customer,
        state=State(status.state),
        since=status.since,
        overdue=status.overdue,
        needs_attention=status.needs_attention,
        times_bought=status.times_bought,
        request=status.request,
        purchase_order_id=status.purchase_order_id,
        purchases=tuple(status.purchases.order_by("ordered_at").values_list("purchase_order_id", flat=True)),
        changes=tuple(
            Changed(id=row.pk, at=row.at, state=State(row.to_state), by=row.by, reason=row.reason) for row in status.changes.all()
        ),
    )


def reference_of(key: UUID) -> str | None:
    """The reference of the sales order with this id, or of the one that this purchase order is its own of."""
    own = OrderPurchase.objects.filter(pk=key).values("status")
    return SalesOrder.objects.filter(Q(pk=key) | Q(pk__in=own)).values_list("reference", flat=True).first()


def lines_placed(references: Collection[str]) -> dict[str, set[ProductQuantity]]:
    """What was ordered under these references, of those there are."""
    rows = SalesOrderLine.objects.filter(order__reference__in=references)
    lines: dict[str, set[ProductQuantity]] = defaultdict(set)
    for reference, product_id, quantity in rows.values_list("order__reference", "product_id", "quantity"):
        lines[reference].add(ProductQuantity(product_id=product_id, quantity=quantity))
    return lines


def purchases_thought_open() -> QuerySet[OrderPurchase, UUID]:
    """The ids of the purchase orders that processes take for open."""
    return OrderPurchase.objects.filter(closed_by__isnull=True).values_list("purchase_order_id", flat=True)


def closed_by() -> dict[UUID, int | None]:
    """What closed each purchase order that was made for a sales order; None: it is open."""
    return dict(OrderPurchase.objects.values_list("purchase_order_id", "closed_by"))


def lines_on_order() -> Iterator[tuple[UUID, UUID, int]]:
    """Sales order, product and quantity of what is on order for those that await goods."""
    rows = OrderPurchaseLine.objects.filter(purchase__closed_by__isnull=True, purchase__status__state=AG).order_by()
    yield from rows.values_list("purchase__status", "product", "quantity").iterator()


def lines_ordered() -> Iterator[tuple[UUID, UUID, int, int]]:
    """Sales order, product, quantity and the order's revision, of every line of an order that was not cancelled."""
    rows = SalesOrderLine.objects.exclude(order__status__state=CX).order_by()
    yield from rows.values_list("order", "product", "quantity", "order__status__revision").iterator()


def process_count() -> int:
    return OrderStatus.objects.count()


def orders_that_need_attention() -> QuerySet[OrderStatus, UUID]:
    """The ids of the sales orders for which a person has to decide."""
    return OrderStatus.objects.filter(needs_attention=True).values_list("order_id", flat=True)


def orders_in(*states: str) -> QuerySet[OrderStatus, UUID]:
    """The ids of the sales orders in these states."""
    return OrderStatus.objects.filter(state__in=[State(each) for each in states]).values_list("order_id", flat=True)


def awaited_purchases() -> QuerySet[OrderStatus, UUID | None]:
    """The ids of the purchase orders whose goods are awaited."""
    return OrderStatus.objects.filter(state=AG).values_list("purchase_order_id", flat=True)


def checks() -> Iterator[Check]:
    """Sales' own invariants."""
    yield check("every sales order has a status", SalesOrder.objects.filter(status__isnull=True))
    last = OrderStatusChange.objects.filter(status=OuterRef("pk")).order_by("-id").values("to_state")[:1]
    statuses = OrderStatus.objects.select_related("order").annotate(last=Coalesce(Subquery(last), Value("")))
    yield check("a status is where its history ends", statuses.exclude(state=F("last")))
    awaited = OrderPurchase.objects.filter(
        status=OuterRef("pk"), purchase_order_id=OuterRef("purchase_order_id"), closed_by__isnull=True
    )
    yield check(
        "who awaits goods waits for a purchase order of its own that is open", statuses.filter(state=AG).exclude(Exists(awaited))
    )


def _is_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True
