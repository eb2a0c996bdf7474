"""Celery's door to Sales."""

from celery import shared_task

from orderflow.messaging.consuming import drain
from sales.services import mark_overdue

CONSUMER = "sales"


@shared_task(name="sales.run_process_manager")
def run_process_manager() -> None:
    drain(CONSUMER)


@shared_task(name="sales.look_at_the_clock")
def look_at_the_clock() -> None:
    """Beat's door: what is overdue is marked as soon as somebody looks, however late that is."""
    while mark_overdue():
        pass
