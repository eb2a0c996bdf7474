"""Read messages and queued messages. Returns values, never querysets."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.utils import timezone

from orderflow.messaging.messages import Message, message_types, type_name
from orderflow.messaging.models import (
    QueuedMessage,
    QueuedMessageQuerySet,
    QueuedMessageStatus,
    StoredMessage,
)
from orderflow.messaging.subscriptions import consumers_of


class NotSubscribed(LookupError):
    def __init__(self, consumer: str, name: str) -> None:
        super().__init__(f"Consumer {consumer} is not subscribed to {name}.")


@dataclass(frozen=True, kw_only=True)
class MessageRecord:
    """A stored message."""

    id: int
    created_at: datetime
    type: str
    payload: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class UnhandledMessage:
    """A queued message that was not handled. `message_id` and `type` are of the stored message."""

    message_id: int
    consumer: str
    type: str
    status: QueuedMessageStatus
    due_at: datetime
    attempts: int
    last_error: str
    resolution_log: str


# -- state of a consumer -------------------------------------------------------------------------


def has_handled(consumer: str, message_id: int) -> bool:
    """Return whether the consumer has handled this stored message.

    Exact: the queued message is deleted in the transaction of the effects. A dead letter or a
    discarded message is not handled. Raises: `NotSubscribed`.
    """
    return not unhandled(consumer, [message_id])


def unhandled(consumer: str, message_ids: Collection[int]) -> set[int]:
    """Return those messages that the consumer has not handled. Raises: `NotSubscribed`."""
    stored = StoredMessage.objects.filter(id__in=message_ids)
    for name in stored.values_list("type", flat=True).distinct():
        if consumer not in consumers_of(message_types()[name]):
            raise NotSubscribed(consumer, name)
    queued = QueuedMessage.objects.filter(consumer=consumer, message_id__in=message_ids)
    return set(queued.values_list("message_id", flat=True))


def has_due_messages(consumer: str) -> bool:
    return QueuedMessage.objects.due(consumer, timezone.now()).exists()


def is_idle() -> bool:
    """Return whether no message is pending, scheduled ones included."""
    return not QueuedMessage.objects.pending().exists()


def oldest_due_at() -> datetime | None:
    """Return since when the oldest due message is due."""
    rows = QueuedMessage.objects.pending().filter(due_at__lte=timezone.now()).order_by("due_at")
    return rows.values_list("due_at", flat=True).first()


# -- queued messages -----------------------------------------------------------------------------


def unhandled_for_keys(keys: Collection[UUID]) -> list[UnhandledMessage]:
    """Return what was not handled about these keys, in order of publication.

    Dead letters and discarded messages are included.
    """
    rows = QueuedMessage.objects.filter(key__in=keys).select_related("message").order_by("id")
    return [_unhandled_message(row) for row in rows]


def pending_keys(consumer: str | None = None, *types: type[Message] | str) -> set[UUID]:
    """Return the keys of queued messages, discarded ones excepted.

    Restricted to one consumer, and to message types or their names, if given.
    """
    return set(_not_discarded(consumer, *types).values_list("key", flat=True))


def pending_payloads(consumer: str, message_type: type[Message]) -> Iterator[dict[str, Any]]:
    """Yield the payloads of queued messages, discarded ones excepted."""
    rows = _not_discarded(consumer, message_type)
    return rows.values_list("message__payload", flat=True).iterator()


def dead_letters() -> list[UnhandledMessage]:
    rows = QueuedMessage.objects.dead_letters().select_related("message").order_by("id")
    return [_unhandled_message(row) for row in rows]


def dead_letter_count() -> int:
    return QueuedMessage.objects.dead_letters().count()


# -- stored messages -----------------------------------------------------------------------------


def types_of(message_ids: Collection[int]) -> dict[int, str]:
    """Return the types of stored messages by id."""
    return dict(StoredMessage.objects.filter(id__in=message_ids).values_list("id", "type"))


def messages_for_keys(keys: Collection[UUID]) -> list[MessageRecord]:
    """Return the stored messages of these keys, in order of publication."""
    rows = StoredMessage.objects.filter(key__in=keys).order_by("id")
    return [
        MessageRecord(id=row.pk, created_at=row.created_at, type=row.type, payload=row.payload)
        for row in rows
    ]


def first_payload(message_type: type[Message], key: UUID) -> dict[str, Any]:
    """Return the payload of the first message of this type and key."""
    rows = StoredMessage.objects.filter(type=type_name(message_type), key=key).order_by("id")
    payload: dict[str, Any] = rows.values_list("payload", flat=True)[0]
    return payload


def payloads_with_causes(
    message_type: type[Message],
) -> Iterator[tuple[int, dict[str, Any], str | None, dict[str, Any] | None]]:
    """Yield id and payload of each message of a type, and type and payload of its cause."""
    rows = StoredMessage.objects.filter(type=type_name(message_type)).order_by("id")
    return rows.values_list("id", "payload", "caused_by__type", "caused_by__payload").iterator()


def causes_with_duplicates(message_type: type[Message]) -> list[int | None]:
    """Return the ids of messages that caused more than one message of this type."""
    rows = StoredMessage.objects.filter(type=type_name(message_type), caused_by__isnull=False)
    counts = rows.values("caused_by").annotate(count=Count("id"))
    return list(counts.filter(count__gt=1).values_list("caused_by", flat=True))


def _not_discarded(consumer: str | None, *types: type[Message] | str) -> QueuedMessageQuerySet:
    rows = QueuedMessage.objects.exclude(status=QueuedMessageStatus.DISCARDED)
    if consumer:
        rows = rows.filter(consumer=consumer)
    if types:
        names = [each if isinstance(each, str) else type_name(each) for each in types]
        rows = rows.filter(message__type__in=names)
    return rows


def _unhandled_message(row: QueuedMessage) -> UnhandledMessage:
    return UnhandledMessage(
        message_id=row.message_id,
        consumer=row.consumer,
        type=row.message.type,
        status=QueuedMessageStatus(row.status),
        due_at=row.due_at,
        attempts=row.attempts,
        last_error=row.last_error,
        resolution_log=row.resolution_log.strip(),
    )
