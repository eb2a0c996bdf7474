"""Beat's door: finds who has something to take and was not woken."""

from celery import shared_task

from orderflow.messaging.consuming import has_something_to_take
from orderflow.messaging.signals import messages_committed
from orderflow.messaging.subscriptions import subscriptions


@shared_task(name="messaging.sweep")
def sweep() -> None:
    """Wake every consumer that has something to take: the guarantee, where the signal after the commit is only speed."""
    for subscription in subscriptions():
        if has_something_to_take(subscription.consumer):
            messages_committed.send(sender=None, consumer=subscription.consumer, countdown=0.0)
