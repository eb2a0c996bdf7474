"""Start a Celery task when messages are available."""

from typing import Any

from django.dispatch import receiver

from orderflow.messaging.signals import messages_available
from orderflow.messaging.wakeups import wake
from purchase.tasks import CONSUMER, handle_messages


@receiver(messages_available, dispatch_uid="purchase")
def wake_purchase(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(handle_messages, countdown=countdown)
