"""Mark overdue sales orders."""

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from sales.models import OrderStatus
from sales.process_manager import Status, StatusLimitExceeded
from sales.services.work import Work

OVERDUE_BATCH_SIZE = 500  # sales orders in one transaction


@transaction.atomic
def mark_overdue() -> int:
    """Mark up to `OVERDUE_BATCH_SIZE` orders that exceeded their status limit; return how many.

    Locks: their `OrderStatus` rows, by sales order id.
    """
    exceeded = Q(pk=None)  # matches no row
    for status, limit in settings.ORDERFLOW_STATUS_LIMITS.items():
        if limit:
            exceeded |= Q(status=Status(status), status_changed_at__lte=timezone.now() - limit)
    rows = OrderStatus.objects.filter(exceeded, overdue=False)
    work = Work.load(rows.locked()[:OVERDUE_BATCH_SIZE])
    for sales_order_id in work.order_statuses:
        work.apply(sales_order_id, StatusLimitExceeded())
    work.save()
    return len(work.order_statuses)
