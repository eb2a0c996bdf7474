"""What can be asked about messages and their deliveries."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.utils import timezone

from orderflow.messaging.messages import Message, type_name
from orderflow.messaging.models import Delivery, DeliveryState, StoredMessage


@dataclass(frozen=True, kw_only=True)
class Said:
    """A stored message, and when it was published."""

    id: int
    at: datetime
    type: str
    payload: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A delivery that was not handled yet. `type` is the message's."""

    id: int
    consumer: str
    type: str
    state: DeliveryState
    due_at: datetime
    attempts: int
    last_error: str
    decision: str


def types_of(messages: Collection[int]) -> dict[int, str]:
    """The types of stored messages, by id."""
    return dict(StoredMessage.objects.filter(id__in=messages).values_list("id", "type"))


def said_about(keys: Collection[UUID]) -> list[Said]:
    rows = StoredMessage.objects.filter(key__in=keys).order_by("id")
    return [Said(id=row.pk, at=row.created_at, type=row.type, payload=row.payload) for row in rows]


def pending_about(keys: Collection[UUID]) -> list[Pending]:
    """What was not handled about these keys: on its way, dead or discarded; in the order of publication."""
    rows = Delivery.objects.filter(key__in=keys).select_related("message").order_by("id")
    return [_pending(row) for row in rows]


def dead_letter_count() -> int:
    return Delivery.objects.dead().count()


def dead_letters() -> list[Pending]:
    return [_pending(row) for row in Delivery.objects.dead().select_related("message").order_by("id")]


def keys_on_the_way(consumer: str | None = None, *types: type[Message] | str) -> QuerySet[Delivery, UUID]:
    """The keys of deliveries that were not handled, dead ones included: to that consumer, of those types or their names."""
    rows = Delivery.objects.exclude(state=DeliveryState.DISCARDED)
    if consumer:
        rows = rows.filter(consumer=consumer)
    if types:
        rows = rows.filter(message__type__in=[each if isinstance(each, str) else type_name(each) for each in types])
    return rows.values_list("key", flat=True)


def payloads_on_the_way(consumer: str, message_type: type[Message]) -> Iterator[dict[str, Any]]:
    """The payloads that are on their way to a consumer, dead ones included."""
    rows = Delivery.objects.exclude(state=DeliveryState.DISCARDED)
    rows = rows.filter(consumer=consumer, message__type=type_name(message_type))
    return rows.values_list("message__payload", flat=True).iterator()


def first_payload(message_type: type[Message], key: UUID) -> dict[str, Any]:
    """What the first message of a type and key said."""
    rows = StoredMessage.objects.filter(type=type_name(message_type), key=key).order_by("id")
    payload: dict[str, Any] = rows.values_list("payload", flat=True)[0]
    return payload


def payloads_with_causes(message_type: type[Message]) -> Iterator[tuple[int, dict[str, Any], str | None, dict[str, Any] | None]]:
    """Of each message of a type: its id and payload, and the type and payload of the message that caused it."""
    rows = StoredMessage.objects.filter(type=type_name(message_type)).order_by("id")
    return rows.values_list("id", "payload", "caused_by__type", "caused_by__payload").iterator()


def caused_more_than_one(message_type: type[Message]) -> list[int | None]:
    """Messages that caused more than one message of a type."""
    rows = StoredMessage.objects.filter(type=type_name(message_type), caused_by__isnull=False)
    return list(rows.values("caused_by").annotate(count=Count("id")).filter(count__gt=1).values_list("caused_by", flat=True))


def is_quiet() -> bool:
    """Is there nothing to take, and nothing that will be: no delivery waits, timers included?"""
    return not Delivery.objects.filter(state=DeliveryState.WAITING).exists()


def oldest_overdue() -> datetime | None:
    """Since when the delivery that has waited longest could have been taken."""
    due = Delivery.objects.filter(state=DeliveryState.WAITING, due_at__lte=timezone.now()).order_by("due_at")
    return due.values_list("due_at", flat=True).first()


def _pending(row: Delivery) -> Pending:
    return Pending(
        id=row.pk,
        consumer=row.consumer,
        type=row.message.type,
        state=DeliveryState(row.state),
        due_at=row.due_at,
        attempts=row.attempts,
        last_error=row.last_error,
        decision=row.decision.strip(),
    )
