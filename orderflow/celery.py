"""The Celery application: the alarm clock of the messaging kernel, never its memory."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

# The broker of the embedded default: kombu's own writes files that a worker can read half-written.
TRANSPORT_ALIASES["filesystem"] = "orderflow.filesystem_broker:Transport"

app = Celery("orderflow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
