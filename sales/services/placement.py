"""Place sales orders."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orderflow.core.database import retry_on_unique_violation
from orderflow.core.errors import ConflictError, DomainError
from orderflow.core.quantities import ProductQuantity, validate_lines
from orderflow.messaging.messages import from_payload, type_name
from orderflow.messaging.publishing import OutgoingMessage, publish
from orderflow.messaging.queries import first_payload
from sales.contract import SalesOrderCreated
from sales.models import OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import Status
from sales.services.work import Lines, Work


@dataclass(frozen=True, kw_only=True)
class SalesOrderDraft:
    """A sales order to place.

    If omitted, `id`, `reference` and `placed_at` are generated, and `delivery_mode` is
    `ORDERFLOW_DELIVERY_MODE`.
    """

    lines: Sequence[ProductQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""
    customer: str = ""
    priority: int = 0
    delivery_mode: str = ""
    placed_at: datetime = field(default_factory=timezone.now)


class SalesOrderAlreadyExists(ConflictError):
    """Another sales order has this id or reference."""

    code = "sales_order_already_exists"

    def __init__(self, field: str, value: object) -> None:
        super().__init__(
            f"Another sales order has the {field} {value}. Choose a different {field}. "
            "No changes were made."
        )


@transaction.atomic
def place_orders(drafts: Sequence[SalesOrderDraft], *, actor: str = "") -> list[SalesOrder]:
    """Place all sales orders or none, and return them in the same order.

    If the id of a draft exists with the same content, the existing order is returned.
    Raises: `SalesOrderAlreadyExists`, `LinesRequired`, `QuantityOutOfRange`.
    """
    placed = []
    for outcome in place_orders_individually(drafts, actor=actor):
        if isinstance(outcome, DomainError):
            raise outcome
        placed.append(outcome)
    return placed


@retry_on_unique_violation
def place_orders_individually(
    drafts: Sequence[SalesOrderDraft], *, actor: str = ""
) -> list[SalesOrder | DomainError]:
    """Place each sales order that is valid; return the order or the error for each draft.

    The errors are those of `place_orders`. The other orders are placed in one transaction.
    """
    placement = OrderPlacement(drafts)
    outcomes = [placement.outcome(draft) for draft in drafts]
    placement.insert()
    created = [
        SalesOrderCreated(
            sales_order_id=row.id, reference=row.reference, lines=placement.lines[row.id]
        )
        for row in placement.placed.values()
    ]
    message_ids = publish([OutgoingMessage(message=event) for event in created])
    statuses = [OrderStatus(order=row, status=Status.NEW) for row in placement.placed.values()]
    work = Work(statuses, lines=placement.lines)
    for message_id, event in zip(message_ids, created, strict=True):
        work.apply(event.sales_order_id, event, message_id=message_id, actor=actor)
    work.save()
    return outcomes


class OrderPlacement:
    """Sorts drafts into new orders, existing orders and errors.

    `placed`: the new orders by id; `lines`: their lines by id.
    """

    def __init__(self, drafts: Sequence[SalesOrderDraft]) -> None:
        ids = {draft.id for draft in drafts}
        rows = SalesOrder.objects.select_related("order_status").prefetch_related("lines")
        self._existing = rows.in_bulk(ids)
        references = {_reference(draft) for draft in drafts if draft.id not in self._existing}
        # A concurrent call may have inserted orders of this call since the query above. Their
        # references are not duplicates: `insert` fails with a unique violation, and the call is
        # repeated.
        others = SalesOrder.objects.filter(reference__in=references).exclude(
            id__in=ids - self._existing.keys()
        )
        self._used_references = set(others.values_list("reference", flat=True))
        self._drafts: dict[UUID, SalesOrderDraft] = {}
        self.placed: dict[UUID, SalesOrder] = {}
        self.lines: dict[UUID, Lines] = {}

    def outcome(self, draft: SalesOrderDraft) -> SalesOrder | DomainError:
        """Return the new or the existing order, or the error."""
        try:
            return self._order(draft)
        except DomainError as error:
            return error

    def insert(self) -> None:
        """Insert the new orders, by reference, so that concurrent inserts cannot deadlock."""
        SalesOrder.objects.bulk_create(sorted(self.placed.values(), key=lambda row: row.reference))
        SalesOrderLine.objects.bulk_create(
            SalesOrderLine(order_id=order_id, product_id=line.product_id, quantity=line.quantity)
            for order_id in self.placed
            for line in self.lines[order_id]
        )

    def _order(self, draft: SalesOrderDraft) -> SalesOrder:
        lines = validate_lines(draft.lines)
        existing = self._existing.get(draft.id)
        if existing:
            if not _has_same_content(existing, draft, lines):
                raise SalesOrderAlreadyExists("id", draft.id)
            return existing
        if draft.id not in self.placed:
            self._place(draft, lines)
        elif draft != self._drafts[draft.id]:
            raise SalesOrderAlreadyExists("id", draft.id)
        return self.placed[draft.id]

    def _place(self, draft: SalesOrderDraft, lines: Lines) -> None:
        reference = _reference(draft)
        if reference in self._used_references:
            raise SalesOrderAlreadyExists("reference", reference)
        self._used_references.add(reference)
        self._drafts[draft.id] = draft
        self.placed[draft.id] = _new_row(draft)
        self.lines[draft.id] = lines


def _has_same_content(row: SalesOrder, draft: SalesOrderDraft, lines: Lines) -> bool:
    """Compare a draft with an order as it was placed. Omitted values are not compared."""
    given = (
        draft.reference or row.reference,
        draft.customer,
        draft.priority,
        draft.delivery_mode or row.delivery_mode,
    )
    stored = (row.reference, row.customer, row.priority, row.delivery_mode)
    return set(lines) == _placed_lines(row) and given == stored


def _placed_lines(row: SalesOrder) -> set[ProductQuantity]:
    """Return the lines of revision 1."""
    if row.order_status.revision == 1:
        return set(row.product_quantities())
    created = from_payload(type_name(SalesOrderCreated), first_payload(SalesOrderCreated, row.id))
    assert isinstance(created, SalesOrderCreated)
    return set(created.lines)


def _reference(draft: SalesOrderDraft) -> str:
    return draft.reference or f"SO-{draft.id.hex}"


def _new_row(draft: SalesOrderDraft) -> SalesOrder:
    return SalesOrder(
        id=draft.id,
        reference=_reference(draft),
        customer=draft.customer,
        priority=draft.priority,
        delivery_mode=draft.delivery_mode or settings.ORDERFLOW_DELIVERY_MODE,
        placed_at=draft.placed_at,
    )
