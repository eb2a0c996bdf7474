"""Celery's door to Purchase."""

from celery import shared_task

from orderflow.messaging.consuming import drain
from purchase.services import mark_overdue

CONSUMER = "purchase"


@shared_task(name="purchase.take_messages")
def take_messages() -> None:
    drain(CONSUMER)


@shared_task(name="purchase.look_at_the_clock")
def look_at_the_clock() -> None:
    """Beat's door: what is overdue is marked as soon as somebody looks, however late that is."""
    while mark_overdue():
        pass
