"""Sales orders being placed in one transaction: which are new, which were placed before, and which are refused."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.messaging.messages import from_payload, type_name
from orderflow.messaging.queries import first_payload
from orderflow.refusals import Conflict, Refused
from sales.contract import SalesOrderCreated
from sales.models import SalesOrder, SalesOrderLine
from sales.services.work import Lines


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """A sales order to place. What is not given is made up: an id, a reference from it, the time, the default delivery."""

    lines: Sequence[ProductQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""
    customer: str = ""
    priority: int = 0
    delivery: str = ""
    placed_at: datetime = field(default_factory=timezone.now)


class OrderTaken(Conflict):
    """The id or the reference belongs to another sales order."""

    code = "order_taken"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is another sales order with the {what}. Nothing was placed: choose a different one.")


class Placing:
    """`placed`: the new ones by id, and their `lines`."""

    def __init__(self, orders: Sequence[NewOrder]) -> None:
        ids = {order.id for order in orders}
        self._known = SalesOrder.objects.select_related("status").prefetch_related("lines").in_bulk(ids)
        references = {_reference(order) for order in orders if order.id not in self._known}
        # One of ours that was inserted since we looked is not another one: the insert will meet it, and we shall look again.
        others = SalesOrder.objects.filter(reference__in=references).exclude(id__in=ids - self._known.keys())
        self._taken = set(others.values_list("reference", flat=True))
        self._wanted: dict[UUID, NewOrder] = {}
        self.placed: dict[UUID, SalesOrder] = {}
        self.lines: dict[UUID, Lines] = {}

    def outcome(self, order: NewOrder) -> SalesOrder | Refused:
        try:
            return self._accepted(order)
        except Refused as refusal:
            return refusal

    def insert(self) -> None:
        SalesOrder.objects.bulk_create(sorted(self.placed.values(), key=lambda row: row.reference))  # inserts wait for each other
        SalesOrderLine.objects.bulk_create(
            SalesOrderLine(order_id=order_id, product_id=line.product_id, quantity=line.quantity)
            for order_id in self.placed
            for line in self.lines[order_id]
        )

    def _accepted(self, order: NewOrder) -> SalesOrder:
        lines = checked_lines(order.lines)
        known = self._known.get(order.id)
        if known:
            if not _is_the_same(known, order, lines):
                raise OrderTaken(f"id {order.id}")
            return known
        if order.id not in self.placed:
            self._place(order, lines)
        elif order != self._wanted[order.id]:
            raise OrderTaken(f"id {order.id}")
        return self.placed[order.id]

    def _place(self, order: NewOrder, lines: Lines) -> None:
        reference = _reference(order)
        if reference in self._taken:
            raise OrderTaken(f"reference {reference}")
        self._taken.add(reference)
        self._wanted[order.id], self.placed[order.id], self.lines[order.id] = order, _new_row(order), lines


def _is_the_same(row: SalesOrder, order: NewOrder, lines: Lines) -> bool:
    """What was made up for want of being given does not count, nor what was changed since."""
    given = (order.reference or row.reference, order.customer, order.priority, order.delivery or row.delivery)
    return set(lines) == _first_lines(row) and given == (row.reference, row.customer, row.priority, row.delivery)


def _first_lines(row: SalesOrder) -> set[ProductQuantity]:
    """What was wanted when the order was placed."""
    if row.status.revision == 1:
        return set(row.ordered())
    created = from_payload(type_name(SalesOrderCreated), first_payload(SalesOrderCreated, row.id))
    assert isinstance(created, SalesOrderCreated)
    return set(created.lines)


def _reference(order: NewOrder) -> str:
    return order.reference or f"SO-{order.id.hex}"


def _new_row(order: NewOrder) -> SalesOrder:
    return SalesOrder(
        id=order.id,
        reference=_reference(order),
        customer=order.customer,
        priority=order.priority,
        delivery=order.delivery or settings.ORDERFLOW_DELIVERY,
        placed_at=order.placed_at,
    )
