"""Celery's door to Purchase."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "purchase"


@shared_task(name="purchase.take_messages")
def take_messages() -> None:
    drain(CONSUMER)
