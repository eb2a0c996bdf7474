"""Filters of log records."""

import logging

from celery.beat import SchedulingError


def drop_scheduling_tracebacks(record: logging.LogRecord) -> bool:
    """Shorten beat's scheduling errors to their first line; keep every record.

    While the broker is unavailable beat logs such an error at every tick.
    """
    if record.exc_info and isinstance(record.exc_info[1], SchedulingError):
        record.msg, record.args = str(record.getMessage()).splitlines()[0], ()
        record.exc_info = record.exc_text = None
    return True
