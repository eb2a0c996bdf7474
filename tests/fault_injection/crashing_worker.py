"""A worker that dies where it is told to: `python -m tests.fault_injection.crashing_worker`. What is killed is started again, at once.

FATES names a folder. A file in it, "<sales order> <consumer> <message type> <point> <whom>", is a death to be died once: the
first who comes there takes the file away, and is killed. With "poison" instead of a point the file stays, for everybody.

    begun            the batch is begun, and nothing of it is done
    before-commit    all of it is done, and not committed
    after-commit     it is committed, and nobody has been woken
"""

import os
import signal
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

FATES = Path(os.environ["FATES"])


def main() -> None:
    consuming.INITIAL_BACKOFF, consuming.MAX_BACKOFF = (
        0.05,
        0.2,
    )  # many die here, and each is tried again
    for each in subscriptions():
        subscribe(
            each.consumer,
            to=each.to,
            handle=_mortal(each.consumer, each.handle),
            transactional=not each.outside,
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


def _mortal(consumer: str, handle: Handler) -> Handler:
    def handled(batch: Sequence[ReceivedMessage]) -> None:
        fates = [
            fate
            for fate in FATES.iterdir()
            if any(_is_meant(fate.name, consumer, each) for each in batch)
        ]
        _die_at("begun", fates)
        _die_at("poison", fates)
        transaction.on_commit(
            lambda: _die_at("after-commit", fates)
        )  # before the alarms, which the handler registers
        handle(batch)

        _before_the_commit(lambda: _die_at("before-commit", fates))

    return handled


def _before_the_commit(die: Callable[[], None]) -> None:
    """After the deliveries are deleted, too."""
    delete = consuming._delete

    def delete_and_die(handled: Sequence[QueuedMessage]) -> None:
        consuming._delete = delete
        delete(handled)
        die()

    consuming._delete = delete_and_die


def _is_meant(fate: str, consumer: str, received: ReceivedMessage) -> bool:
    sales_order, whom, what, *_ = fate.split()
    return (whom, what) == (consumer, type_name(type(received.message))) and sales_order in str(
        to_payload(received.message)
    )


def _die_at(point: str, fates: Sequence[Path]) -> None:
    for fate in fates:
        *_, at, whom = fate.name.split()
        if at == point and (at == "poison" or _is_taken_away(fate)):
            os.killpg(0, signal.SIGKILL) if whom == "worker" else os.kill(
                os.getpid(), signal.SIGKILL
            )


def _is_taken_away(fate: Path) -> bool:
    try:
        fate.unlink()
    except FileNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
