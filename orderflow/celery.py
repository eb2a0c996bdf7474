"""The Celery application. Celery carries wake-ups; the database holds the messages."""

import logging
import os
import sys
from typing import Any

from celery import Celery, Task
from celery.signals import beat_init, setup_logging, task_prerun, worker_init
from django.db import InterfaceError, OperationalError, close_old_connections
from kombu.transport import TRANSPORT_ALIASES

from orderflow.core.database import is_unavailable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

TRANSPORT_ALIASES["filesystem"] = "orderflow.transports:FilesystemTransport"
TRANSPORT_ALIASES["redis"] = "orderflow.transports:RedisTransport"
TRANSPORT_ALIASES["rediss"] = "orderflow.transports:RedisTransport"

logger = logging.getLogger(__name__)


class OutageTolerantTask(Task):  # type: ignore[type-arg]
    """A task that ends without an error while the database is unavailable.

    The next wake-up starts it again. Each process logs one line when the outage begins and one
    when it ends, not a traceback for each wake-up.
    """

    _outage = False  # shared by all tasks of the process

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = super().__call__(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            if not is_unavailable(error):
                raise
            if not OutageTolerantTask._outage:
                logger.error(
                    "The database is unavailable (%s). No data is lost; processing resumes "
                    "automatically.",
                    _one_line(error),
                )
            OutageTolerantTask._outage = True
            return None
        if OutageTolerantTask._outage:
            OutageTolerantTask._outage = False
            logger.warning("The database is available again.")
        return result


app = Celery("orderflow", task_cls=OutageTolerantTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**signal: Any) -> None:
    """Keep LOGGING of the settings: Celery would otherwise install its own handlers and level."""


@worker_init.connect
@beat_init.connect
def exit_on_invalid_settings(**signal: Any) -> None:
    """End the process if a system check fails; Celery runs the checks and ignores the result."""
    from orderflow.checks import validate_settings  # needs the settings, which are loaded by now

    try:
        validate_settings()
    except Exception as error:  # Celery would log it and continue
        sys.exit(str(error))


@task_prerun.connect
def close_stale_connections(**signal: Any) -> None:
    """Close a database connection that is too old or broken, as Django does for each request.

    With CELERY_DB_REUSE_MAX Celery keeps the connection and never checks it.
    """
    close_old_connections()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
