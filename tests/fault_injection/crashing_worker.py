"""A worker that crashes at given points, and restarts at once.

python -m tests.fault_injection.crashing_worker CRASHES_DIR

A file in CRASHES_DIR schedules one crash, and is removed before the crash. Its name is
"<sales order id> <consumer> <message type> <point> <victim>". The points:

    begun            the batch has begun; no message is handled
    before-commit    every message is handled; nothing is committed
    after-commit     the batch is committed; no wake-up is sent
    poison           as begun, but the file stays: the worker crashes each time

The victim is "child", the process that handles the batch, or "worker", its whole process group.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import django

django.setup()

from django.db import transaction  # noqa: E402  # models can be imported only now

from orderflow.celery import app  # noqa: E402
from orderflow.messaging import consuming  # noqa: E402
from orderflow.messaging.messages import ReceivedMessage, to_payload, type_name  # noqa: E402
from orderflow.messaging.models import QueuedMessage  # noqa: E402
from orderflow.messaging.subscriptions import Handler, subscribe, subscriptions  # noqa: E402
from orderflow.operations.management.processes import worker  # noqa: E402
from tests.fork_server import end_with_parent, load  # noqa: E402


def main(crashes_dir: Path) -> None:
    # Many workers crash here, and each message is handled again.
    consuming.INITIAL_BACKOFF, consuming.MAX_BACKOFF = 0.05, 0.2
    for each in subscriptions():
        subscribe(
            each.consumer,
            to=each.to,
            handle=_crashing(crashes_dir, each.consumer, each.handle),
            transactional=each.transactional,
        )
    arguments = worker()[worker().index("worker") :]
    load()
    while True:
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            end_with_parent()
            os.setsid()
            app.worker_main(arguments)
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(max(0.0, began + 0.1 - time.monotonic()))


def _crashing(crashes_dir: Path, consumer: str, handle: Handler) -> Handler:
    def handle_and_crash(batch: Sequence[ReceivedMessage]) -> None:
        crashes = [
            crash
            for crash in crashes_dir.iterdir()
            if any(_matches(crash.name, consumer, each) for each in batch)
        ]
        _crash_at("begun", crashes)
        _crash_at("poison", crashes)
        # Registered before the wake-ups, which the handler registers.
        transaction.on_commit(lambda: _crash_at("after-commit", crashes))
        handle(batch)
        _call_before_commit(lambda: _crash_at("before-commit", crashes))

    return handle_and_crash


def _call_before_commit(crash: Callable[[], None]) -> None:
    """Call `crash` after the queued messages are deleted, too."""
    delete = consuming._delete

    def delete_and_crash(handled: Sequence[QueuedMessage]) -> None:
        consuming._delete = delete
        delete(handled)
        crash()

    consuming._delete = delete_and_crash


def _matches(name: str, consumer: str, received: ReceivedMessage) -> bool:
    sales_order_id, crash_consumer, message_type, *_ = name.split()
    return (
        crash_consumer == consumer
        and message_type == type_name(type(received.message))
        and sales_order_id in str(to_payload(received.message))
    )


def _crash_at(point: str, crashes: Sequence[Path]) -> None:
    """Crash once for every message of the batch whose crash is scheduled at this point."""
    victims = [
        victim
        for crash in crashes
        for *_, crash_point, victim in [crash.name.split()]
        if crash_point == point and (point == "poison" or _remove(crash))
    ]
    if "worker" in victims:
        os.killpg(0, signal.SIGKILL)
    if victims:
        os.kill(os.getpid(), signal.SIGKILL)


def _remove(crash: Path) -> bool:
    """Return whether this process removed the file, and not another one before."""
    try:
        crash.unlink()
    except FileNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
