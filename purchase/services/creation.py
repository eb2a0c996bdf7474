"""Create purchase orders."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orderflow.core.database import by_id, check_references_unique, retry_on_unique_violation
from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity, validate_lines
from purchase.contract import PeggedQuantity
from purchase.lifecycle import Status
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services.dates import validate_expected_date
from purchase.services.work import default_reference

PeggedLines = dict[tuple[UUID, UUID | None], int]  # quantities by product id and peg


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderDraft:
    """A purchase order to create.

    If omitted, `id` and `reference` are generated, and `expected_at` is `ORDERFLOW_LEAD_TIME` from
    now.
    """

    lines: Sequence[PeggedQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""
    expected_at: datetime | None = None
    external: bool = False


class PurchaseOrderAlreadyExists(ConflictError):
    """Another purchase order has this id or reference."""

    code = "purchase_order_already_exists"

    def __init__(self, field: str, value: object) -> None:
        super().__init__(
            f"Another purchase order has the {field} {value}. Choose a different {field}. "
            "No changes were made."
        )


@retry_on_unique_violation
def create_purchase_orders(
    drafts: Sequence[PurchaseOrderDraft], *, actor: str = ""
) -> list[PurchaseOrder]:
    """Create all purchase orders or none, and return them in the same order.

    If the id of a draft exists with the same content, the existing purchase order is returned. A
    purchase order that was withdrawn before it was created stays cancelled.
    Raises: `PurchaseOrderAlreadyExists`, `LinesRequired`, `QuantityOutOfRange`,
    `ExpectedDateOutOfRange`.
    """
    for each in drafts:
        validate_expected_date(each.expected_at)
    distinct = by_id(drafts, PurchaseOrderAlreadyExists)
    lines = {draft.id: _pegged_lines(draft.lines) for draft in distinct.values()}
    existing = _existing(distinct, lines)
    new = {
        draft.id: _new_row(draft, actor) for draft in distinct.values() if draft.id not in existing
    }
    _insert(new, lines)
    return [existing.get(draft.id) or new[draft.id] for draft in drafts]


def _pegged_lines(lines: Sequence[PeggedQuantity]) -> PeggedLines:
    validate_lines(
        ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines
    )
    quantities: Counter[tuple[UUID, UUID | None]] = Counter()
    for line in lines:
        quantities[line.product_id, line.pegged_to] += line.quantity
    return dict(quantities)


def _existing(
    drafts: Mapping[UUID, PurchaseOrderDraft], lines: Mapping[UUID, PeggedLines]
) -> dict[UUID, PurchaseOrder]:
    """Return the purchase orders that exist with the same content.

    Omitted values and the expected date are not compared. The expected date may have changed.
    Raises: `PurchaseOrderAlreadyExists`.
    """
    rows = PurchaseOrder.objects.prefetch_related("lines").in_bulk(drafts)
    for order_id, row in rows.items():
        ordered = {(line.product_id, line.pegged_to): line.quantity for line in row.lines.all()}
        withdrawn_before_creation = row.status == Status.CANCELLED and not ordered
        reference = drafts[order_id].reference or row.reference
        has_same_content = ordered == lines[order_id] and reference == row.reference
        if not withdrawn_before_creation and not has_same_content:
            raise PurchaseOrderAlreadyExists("id", order_id)
    return rows


def _insert(orders: Mapping[UUID, PurchaseOrder], lines: Mapping[UUID, PeggedLines]) -> None:
    # A concurrent call may have inserted purchase orders of this call since they were looked up.
    # Their references are not duplicates: the insert fails with a unique violation, and the call
    # is repeated.
    others = PurchaseOrder.objects.exclude(id__in=orders)
    references = [order.reference for order in orders.values()]
    check_references_unique(references, others, PurchaseOrderAlreadyExists)
    # Insert in the order of references, so that concurrent inserts cannot deadlock.
    PurchaseOrder.objects.bulk_create(sorted(orders.values(), key=lambda row: row.reference))
    PurchaseOrderLine.objects.bulk_create(
        PurchaseOrderLine(
            order_id=order_id, product_id=product_id, quantity=quantity, pegged_to=pegged_to
        )
        for order_id in orders
        for (product_id, pegged_to), quantity in lines[order_id].items()
    )


def _new_row(draft: PurchaseOrderDraft, actor: str) -> PurchaseOrder:
    now = timezone.now()
    return PurchaseOrder(
        id=draft.id,
        reference=draft.reference or default_reference(draft.id),
        ordered_at=now,
        expected_at=draft.expected_at or now + settings.ORDERFLOW_LEAD_TIME,
        actor=actor,
        external=draft.external,
    )
