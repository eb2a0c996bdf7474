"""Wakes the feed when there is something for it: the signal becomes a Celery task."""

from typing import Any

from django.dispatch import receiver

from orderflow.feed.tasks import CONSUMER, number_events
from orderflow.messaging.signals import messages_committed
from orderflow.messaging.waking import wake


@receiver(messages_committed, dispatch_uid="feed")
def wake_the_feed(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(number_events, countdown=countdown)
