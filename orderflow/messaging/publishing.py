"""Says something to other contexts, in the transaction that makes it true."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from orderflow.messaging.messages import Message, to_payload, type_name
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.signals import messages_committed
from orderflow.messaging.subscriptions import consumers_of


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to publish. `caused_by`: the id of the message it answers. `countdown`: a timer, in seconds."""

    message: Message
    caused_by: int | None = None
    countdown: float = 0.0


class PublishedOutsideTransaction(RuntimeError):
    def __init__(self) -> None:
        super().__init__("publish() belongs into the transaction that makes the messages true: call it inside atomic().")


def publish(outgoing: Sequence[Outgoing]) -> list[int]:
    """Store messages, in this order, with a delivery for each consumer; wake the consumers after the commit.

    Call it once the row that the messages are about is locked (or new): only then is the order of ids the order of commits
    within a key. Returns the ids of the stored messages.
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
    deliveries = []
    alarms = set()
    for each, row in zip(outgoing, stored, strict=True):
        due_at = now + timedelta(seconds=each.countdown)
        for consumer in consumers_of(type(each.message)):
            deliveries.append(Delivery(consumer=consumer, message=row, key=row.key, due_at=due_at))
            alarms.add((consumer, each.countdown))
    Delivery.objects.bulk_create(deliveries)
    # Registered by each call, not once a transaction: a rolled back savepoint takes its registrations along.
    transaction.on_commit(lambda: _announce(alarms), robust=True)
    return [row.pk for row in stored]


def _announce(alarms: set[tuple[str, float]]) -> None:
    for consumer, countdown in sorted(alarms):
        messages_committed.send(sender=None, consumer=consumer, countdown=countdown)
