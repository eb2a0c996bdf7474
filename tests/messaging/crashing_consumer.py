"""A process that drains the tests' consumer and is killed on the way: `python -m tests.messaging.crashing_consumer before|after|never`.

It dies by SIGKILL at the message "fatal": before the commit of its effects, or right after it.
"""

import os
import signal
import sys

import django

django.setup()

from django.db import transaction  # noqa: E402  # models can be imported only now

from orderflow.messaging.consuming import drain  # noqa: E402
from orderflow.messaging.subscriptions import subscribe  # noqa: E402
from tests.messaging.listener import CONSUMER, Listener, Noted  # noqa: E402


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(message: Noted) -> None:
    if message.text == "fatal":
        _die()


def _after(message: Noted) -> None:
    if message.text == "fatal":
        transaction.on_commit(_die)


def _never(message: Noted) -> None:
    pass


if __name__ == "__main__":
    listener = Listener()
    listener.misbehave = {"before": _before, "after": _after, "never": _never}[sys.argv[1]]
    subscribe(CONSUMER, to=[Noted], handle=listener.handle)
    drain(CONSUMER)
