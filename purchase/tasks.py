"""The Celery tasks of Purchase."""

from celery import shared_task

from orderflow.messaging.consuming import drain
from purchase.services import mark_overdue

CONSUMER = "purchase"


@shared_task(name="purchase.handle_messages")
def handle_messages() -> None:
    drain(CONSUMER)


@shared_task(name="purchase.mark_overdue_orders")
def mark_overdue_orders() -> None:
    """Mark every overdue purchase order, in batches. Beat starts this task."""
    while mark_overdue():
        pass
