"""Who gets which messages. Each context says so for itself when the project starts (`apps.py`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from orderflow.messaging.messages import Message, Received

Handler = Callable[[Sequence[Received]], None]


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """`to` are types of messages, or what several have in common: `Event` is every event that there is.

    `handle` gets a batch in the order of publication, inside a transaction; if it raises, none of its effects stay.
    `outside` is for work outside the database, such as HTTP: one message at a time, at least once, never in a transaction.
    """

    consumer: str
    to: tuple[type[Message], ...]
    handle: Handler
    outside: bool = False


_subscriptions: dict[str, Subscription] = {}


def subscribe(consumer: str, *, to: Sequence[type[Message]], handle: Handler, outside: bool = False) -> None:
    _subscriptions[consumer] = Subscription(consumer=consumer, to=tuple(to), handle=handle, outside=outside)


_namers: list[Callable[[UUID], str | None]] = []


def name_keys(namer: Callable[[UUID], str | None]) -> None:
    """`namer` says what people call the thing with this key, such as a sales order's reference; for logs."""
    _namers.append(namer)


def name_of(key: UUID) -> str:
    """What people call it; its key, where nobody has a name for it."""
    return next((name for namer in _namers if (name := namer(key))), str(key))


def subscription_of(consumer: str) -> Subscription:
    return _subscriptions[consumer]


def subscriptions() -> list[Subscription]:
    return list(_subscriptions.values())


def consumers_of(message_type: type[Message]) -> list[str]:
    return [each.consumer for each in _subscriptions.values() if issubclass(message_type, each.to)]
