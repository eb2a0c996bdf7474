"""The Celery tasks of Stock."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "stock"


@shared_task(name="stock.handle_messages")
def handle_messages() -> None:
    drain(CONSUMER)
