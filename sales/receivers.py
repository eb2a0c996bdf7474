"""Start a Celery task when messages are available.

`countdown`: seconds until a scheduled message, such as RetryReservation, is due. The database
stores the due time of the message: if Celery loses the task, the next sweep starts it.
"""

from typing import Any

from django.dispatch import receiver

from orderflow.messaging.signals import messages_available
from orderflow.messaging.wakeups import wake
from sales.tasks import CONSUMER, run_process_manager


@receiver(messages_available, dispatch_uid="sales")
def wake_sales(consumer: str, countdown: float, **signal: Any) -> None:
    if consumer == CONSUMER:
        wake(run_process_manager, countdown=countdown)
