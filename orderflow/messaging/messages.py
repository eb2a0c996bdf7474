"""Message types, and their conversion to JSON and back.

Unknown fields of a payload are ignored, and new fields have defaults, so that two releases can
exchange messages. A changed meaning is a new type.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

_types: dict[str, type["Message"]] = {}


def type_name(message_type: type["Message"]) -> str:
    """Return the stored name of a message type, such as `stock.MakeReservation`."""
    return f"{message_type.__module__.split('.')[0]}.{message_type.__name__}"


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event or a command. Subclasses are frozen dataclasses and define `key`."""

    def __init_subclass__(cls) -> None:
        if type_name(cls) in _types:
            raise TypeError(
                f"Two message types have the name {type_name(cls)}. Rename one of them."
            )
        _types[type_name(cls)] = cls

    @property
    def key(self) -> UUID:
        """The ordering scope: messages of one key reach a consumer in order of publication."""
        raise NotImplementedError(f"{type(self).__name__} does not define its key")


@dataclass(frozen=True, kw_only=True)
class Event(Message):
    """A fact, published by the context that owns it."""


@dataclass(frozen=True, kw_only=True)
class Command(Message):
    """An instruction that exactly one consumer carries out; owned by that consumer's context."""


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """A message that a handler receives. `id` is the stored message's id."""

    id: int
    message: Message


class RetryLater(Exception):
    """An external system is unavailable; `str()` says which.

    The message is handled again later, with growing delays, and never becomes a dead letter. Its
    key stays blocked.
    """


class UnexpectedMessage(Exception):
    """No rule covers the message. It becomes a dead letter at once: repeating cannot help."""


class UndecodableMessage(UnexpectedMessage):
    """The type is unknown, or the payload does not fit it.

    Deploy a release that knows the type, then replay the message.
    """


def message_types() -> dict[str, type[Message]]:
    """Return every concrete message type by its stored name."""
    return {name: cls for name, cls in _types.items() if cls not in (Event, Command)}


def to_payload(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = msgspec.to_builtins(message)
    return payload


def from_payload(name: str, payload: dict[str, Any]) -> Message:
    """Raises: `UndecodableMessage`."""
    if name not in _types:
        raise UndecodableMessage(f"The message type {name} is unknown.")
    try:
        return msgspec.convert(payload, type=_types[name])
    except msgspec.ValidationError as error:
        raise UndecodableMessage(f"The payload does not fit {name}: {error}.") from error
