"""The Celery tasks of Sales."""

from celery import shared_task

from orderflow.messaging.consuming import drain
from sales.services import mark_overdue

CONSUMER = "sales"


@shared_task(name="sales.run_process_manager")
def run_process_manager() -> None:
    drain(CONSUMER)


@shared_task(name="sales.mark_overdue_orders")
def mark_overdue_orders() -> None:
    """Mark every overdue sales order, in batches. Beat starts this task."""
    while mark_overdue():
        pass
