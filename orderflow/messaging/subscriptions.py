"""Which consumer receives which messages. Each context subscribes in its `apps.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from orderflow.messaging.messages import Message, ReceivedMessage

Handler = Callable[[Sequence[ReceivedMessage]], None]


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A consumer, its message types and its handler.

    `to`: message types, or base classes such as `Event` for all events. `handle` receives a batch
    in order of publication, inside a transaction; if it raises, no effect remains. A handler that
    is not `transactional` calls external systems: it receives one message at a time, outside a
    transaction, at least once.
    """

    consumer: str
    to: tuple[type[Message], ...]
    handle: Handler
    transactional: bool = True


_subscriptions: dict[str, Subscription] = {}
_key_labels: list[Callable[[UUID], str | None]] = []


def subscribe(
    consumer: str, *, to: Sequence[type[Message]], handle: Handler, transactional: bool = True
) -> None:
    _subscriptions[consumer] = Subscription(
        consumer=consumer, to=tuple(to), handle=handle, transactional=transactional
    )


def subscription_of(consumer: str) -> Subscription:
    return _subscriptions[consumer]


def subscriptions() -> list[Subscription]:
    return list(_subscriptions.values())


def consumers_of(message_type: type[Message]) -> list[str]:
    return [each.consumer for each in _subscriptions.values() if issubclass(message_type, each.to)]


def register_key_label(label: Callable[[UUID], str | None]) -> None:
    """Register a function that returns a readable name for a key, such as a reference, or None."""
    _key_labels.append(label)


def label_for_key(key: UUID) -> str:
    """Return the readable name of a key for logs; the key itself if there is none."""
    return next((text for label in _key_labels if (text := label(key))), str(key))
