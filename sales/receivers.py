"""Wakes Sales when there is something for it: the signal becomes a Celery task.

The countdown is the process manager's pause: RetryReservation is published with a later due time, and this is its alarm. The
delivery in the database remembers it; a lost alarm only makes it late, until the next sweep.
"""

from typing import Any

from django.dispatch import receiver

from orderflow.messaging.signals import messages_committed
from orderflow.messaging.waking import wake
from sales.tasks import CONSUMER, run_process_manager


@receiver(messages_committed, dispatch_uid="sales")
def wake_the_process_manager(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(run_process_manager, countdown=countdown)
