"""Celery's door to Stock."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "stock"


@shared_task(name="stock.take_messages")
def take_messages() -> None:
    drain(CONSUMER)
