"""The Celery application: the alarm clock of the messaging kernel, never its memory."""

import logging
import os
import sys
from typing import Any

from celery import Celery, Task
from celery.signals import beat_init, setup_logging, task_prerun, worker_init
from django.db import InterfaceError, OperationalError, close_old_connections
from kombu.transport import TRANSPORT_ALIASES

from orderflow.database import is_away

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

TRANSPORT_ALIASES["filesystem"] = "orderflow.brokers:FilesystemTransport"
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "orderflow.brokers:RedisTransport"

logger = logging.getLogger(__name__)


class PatientTask(Task):  # type: ignore[type-arg]
    """A task that takes a database that is away for what it is: nothing is lost, and the next wake-up tries again.

    One line says so when it goes, and one when it is back, in each process; a traceback for each wake-up would bury them.
    """

    _away = False  # of the whole process, whichever task notices

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = super().__call__(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            if not is_away(error):
                raise
            if not PatientTask._away:
                logger.error("The database is away (%s). Nothing is lost; this process goes on once it is back.", _line(error))
            PatientTask._away = True
            return None
        if PatientTask._away:
            PatientTask._away = False
            logger.warning("The database is back.")
        return result


app = Celery("orderflow", task_cls=PatientTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_to_the_settings(**signal: Any) -> None:
    """Celery would set a level of its own, and hide what Sales says of its orders."""


@worker_init.connect
@beat_init.connect
def refuse_to_start_with_wrong_settings(**signal: Any) -> None:
    """Celery runs Django's system checks, and starts whatever they say."""
    from orderflow.checks import assert_settings_are_right  # settings are not read yet at the top

    try:
        assert_settings_are_right()
    except Exception as wrong:  # Celery would log whatever a receiver raises, and go on
        sys.exit(str(wrong))


@task_prerun.connect
def look_after_the_database_connection(**signal: Any) -> None:
    """What a web request does at its start: a connection that is too old, or that the server ended, is replaced.

    With CELERY_DB_REUSE_MAX Celery keeps the connection between tasks and never asks whether it still works.
    """
    close_old_connections()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
