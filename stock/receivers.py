"""Wakes Stock when there is something for it: the signal becomes a Celery task."""

from typing import Any

from django.dispatch import receiver

from orderflow.messaging.signals import messages_committed
from orderflow.messaging.waking import wake
from stock.tasks import CONSUMER, take_messages


@receiver(messages_committed, dispatch_uid="stock")
def wake_stock(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(take_messages, countdown=countdown)
