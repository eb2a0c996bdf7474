"""The Celery application: the alarm clock of the messaging kernel, never its memory."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

# The broker of the embedded default: kombu's own writes files that a worker can read half-written.
TRANSPORT_ALIASES["filesystem"] = "orderflow.filesystem_broker:Transport"

app = Celery("orderflow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@task_prerun.connect
def look_after_the_database_connection(**signal: Any) -> None:
    """What a web request does at its start: a connection that is too old, or that the server ended, is replaced.

    With CELERY_DB_REUSE_MAX Celery keeps the connection between tasks and never asks whether it still works.
    """
    from django.db import close_old_connections  # settings are not read yet when this module is imported

    close_old_connections()
