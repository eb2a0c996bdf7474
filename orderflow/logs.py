"""What is done to lines before they are logged."""

import logging

from celery.beat import SchedulingError


def without_traceback(record: logging.LogRecord) -> bool:
    """Beat meets a broker that is away at every tick: the first line says all that there is to say."""
    if record.exc_info and isinstance(record.exc_info[1], SchedulingError):
        record.msg, record.args = str(record.getMessage()).splitlines()[0], ()
        record.exc_info = record.exc_text = None
    return True
