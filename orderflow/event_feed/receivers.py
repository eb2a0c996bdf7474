"""Turn the signal that messages are available into a Celery task."""

from typing import Any

from django.dispatch import receiver

from orderflow.event_feed.tasks import CONSUMER, append_events
from orderflow.messaging.signals import messages_available
from orderflow.messaging.wakeups import wake


@receiver(messages_available, dispatch_uid="feed")
def wake_event_feed(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(append_events, countdown=countdown)
