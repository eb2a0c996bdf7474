"""The Celery task of the event feed."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "feed"


@shared_task(name="feed.append_events")
def append_events() -> None:
    drain(CONSUMER)
