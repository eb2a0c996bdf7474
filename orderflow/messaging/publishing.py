"""Publish messages in the transaction of the change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from orderflow.messaging.messages import Message, to_payload, type_name
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.messaging.signals import messages_available
from orderflow.messaging.subscriptions import consumers_of


@dataclass(frozen=True, kw_only=True)
class OutgoingMessage:
    """A message to publish.

    `caused_by`: id of the message that caused it. `countdown`: seconds until it is due; more than
    0 makes it a scheduled message.
    """

    message: Message
    caused_by: int | None = None
    countdown: float = 0.0


class PublishedOutsideTransaction(RuntimeError):
    def __init__(self) -> None:
        super().__init__(
            "publish() was called outside a transaction. Call it inside atomic(), in the "
            "transaction that makes the messages true."
        )


def publish(outgoing: Sequence[OutgoingMessage]) -> list[int]:
    """Store messages in this order, queue them for their consumers, and return their ids.

    The consumers are woken after the commit. Call it when the row that the messages are about is
    locked or new: only then the order of the ids is the order of the commits within a key.
    """
    if not transaction.get_connection().in_atomic_block:
        raise PublishedOutsideTransaction()
    if not outgoing:
        return []
    now = timezone.now()
    stored = StoredMessage.objects.bulk_create(
        StoredMessage(
            type=type_name(type(each.message)),
            key=each.message.key,
            payload=to_payload(each.message),
            caused_by_id=each.caused_by,
            created_at=now,
        )
        for each in outgoing
    )
    queued = []
    wakeups = set()
    for each, row in zip(outgoing, stored, strict=True):
        due_at = now + timedelta(seconds=each.countdown)
        for consumer in consumers_of(type(each.message)):
            queued.append(
                QueuedMessage(consumer=consumer, message=row, key=row.key, due_at=due_at)
            )
            wakeups.add((consumer, each.countdown))
    QueuedMessage.objects.bulk_create(queued)
    # Registered by each call, not once for each transaction: rolling back a savepoint removes the
    # callbacks that were registered in it.
    transaction.on_commit(lambda: _send_signals(wakeups), robust=True)
    return [row.pk for row in stored]


def _send_signals(wakeups: set[tuple[str, float]]) -> None:
    for consumer, countdown in sorted(wakeups):
        messages_available.send(sender=None, consumer=consumer, countdown=countdown)
