"""Celery's door to Sales."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "sales"


@shared_task(name="sales.run_process_manager")
def run_process_manager() -> None:
    drain(CONSUMER)
