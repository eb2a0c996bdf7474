"""What is done to lines before they are logged."""

import logging


def without_traceback(record: logging.LogRecord) -> bool:
    """Beat meets a broker that is away at every tick: the first line says all that there is to say."""
    if record.levelno >= logging.ERROR and record.exc_info:
        record.msg, record.args = str(record.getMessage()).splitlines()[0], ()
        record.exc_info = record.exc_text = None
    return True
