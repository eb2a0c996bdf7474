"""The Celery task of messaging: the sweep."""

from celery import shared_task

from orderflow.messaging.queries import has_due_messages
from orderflow.messaging.signals import messages_available
from orderflow.messaging.subscriptions import subscriptions


@shared_task(name="messaging.sweep")
def sweep() -> None:
    """Wake every consumer that has due messages. Beat starts this task.

    The sweep guarantees that messages are handled; the signal after a commit only makes it fast.
    """
    for subscription in subscriptions():
        if has_due_messages(subscription.consumer):
            messages_available.send(sender=None, consumer=subscription.consumer, countdown=0.0)
