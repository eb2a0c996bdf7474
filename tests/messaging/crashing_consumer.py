"""A process that drains the sample consumer and is killed at the message "fatal".

python -m tests.messaging.crashing_consumer before|after|never

"before" and "after" name the commit of the effects.
"""

import os
import signal
import sys

import django

django.setup()

from django.db import transaction  # noqa: E402  # models can be imported only now

from orderflow.messaging.consuming import drain  # noqa: E402
from orderflow.messaging.subscriptions import subscribe  # noqa: E402
from tests.messaging.sample_consumer import (  # noqa: E402
    CONSUMER,
    SampleConsumer,
    SampleEvent,
)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before_commit(message: SampleEvent) -> None:
    if message.text == "fatal":
        _crash()


def _after_commit(message: SampleEvent) -> None:
    if message.text == "fatal":
        transaction.on_commit(_crash)


def _never(message: SampleEvent) -> None:
    pass


if __name__ == "__main__":
    consumer = SampleConsumer()
    consumer.hook = {"before": _before_commit, "after": _after_commit, "never": _never}[
        sys.argv[1]
    ]
    subscribe(CONSUMER, to=[SampleEvent], handle=consumer.handle)
    drain(CONSUMER)
