"""Mark overdue purchase orders."""

from django.db import transaction
from django.utils import timezone

from purchase.models import PurchaseOrder
from purchase.services.work import Work

OVERDUE_BATCH_SIZE = 500  # purchase orders in one transaction


@transaction.atomic
def mark_overdue() -> int:
    """Mark up to `OVERDUE_BATCH_SIZE` orders whose expected date has passed; return how many.

    Locks: the purchase orders, by id.
    """
    rows = PurchaseOrder.objects.open().filter(expected_at__lte=timezone.now(), overdue=False)
    work = Work(rows.locked()[:OVERDUE_BATCH_SIZE])
    for order in work.orders.values():
        work.mark_overdue(order)
    work.save()
    return len(work.orders)
