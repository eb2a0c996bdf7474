"""Celery's door to the feed."""

from celery import shared_task

from orderflow.messaging.consuming import drain

CONSUMER = "feed"


@shared_task(name="feed.number_events")
def number_events() -> None:
    drain(CONSUMER)
