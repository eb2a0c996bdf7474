"""Decisions of users about purchase orders: cancel, close short, reschedule."""

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction

from purchase.models import PurchaseOrder
from purchase.services.dates import validate_expected_date
from purchase.services.work import Work


def cancel_purchase_orders(
    purchase_order_ids: Collection[UUID], *, actor: str, reason: str = ""
) -> int:
    """Cancel all of these purchase orders or none; return how many changed.

    A purchase order that is already cancelled is not changed. If Sales requested it, Sales
    requests the reservation again and purchases uncovered shortages, up to the purchase limit.
    Locks: the purchase orders, by id.
    Raises: `PurchaseOrderCannotBeCancelled`, `PurchaseOrderNotFound`, `PurchaseOrderIsExternal`,
    `ReasonTooLong`.
    """
    return _decide(purchase_order_ids, Work.cancel, actor=actor, reason=reason)


def close_short(purchase_order_ids: Collection[UUID], *, actor: str, reason: str = "") -> int:
    """Close all of these purchase orders short, or none; return how many changed.

    A purchase order that is already closed short is not changed. Sales reacts as to a
    cancellation.
    Locks: the purchase orders, by id.
    Raises: `PurchaseOrderCannotBeClosedShort`, `PurchaseOrderNotFound`,
    `PurchaseOrderIsExternal`, `ReasonTooLong`.
    """
    return _decide(purchase_order_ids, Work.close_short, actor=actor, reason=reason)


@transaction.atomic
def reschedule(
    purchase_order_id: UUID, expected_at: datetime, *, actor: str, reason: str = ""
) -> int:
    """Set the expected date; return 1 if it changed, else 0. A change clears the overdue flag.

    Locks: the purchase order.
    Raises: `ExpectedDateOutOfRange`, `PurchaseOrderClosed`, `PurchaseOrderNotFound`,
    `ReasonTooLong`.
    """
    validate_expected_date(expected_at)
    rows = PurchaseOrder.objects.filter(id=purchase_order_id)
    work = Work(rows.locked(), actor=actor, reason=reason)
    work.reschedule(purchase_order_id, expected_at)
    return work.save()


@transaction.atomic
def _decide(
    purchase_order_ids: Collection[UUID],
    change: Callable[[Work, UUID], None],
    *,
    actor: str,
    reason: str,
) -> int:
    rows = PurchaseOrder.objects.filter(id__in=purchase_order_ids)
    work = Work(rows.locked(), actor=actor, reason=reason)
    for purchase_order_id in purchase_order_ids:
        change(work, purchase_order_id)
    return work.save()
