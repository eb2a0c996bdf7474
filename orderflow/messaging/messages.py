"""What a message is, and how it becomes JSON and a message again.

Unknown fields of a payload are ignored and new fields have defaults, so that two releases can talk to each other; a changed
meaning is a new type.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

_types: dict[str, type["Message"]] = {}


def type_name(message_type: type["Message"]) -> str:
    """`stock.MakeReservation`: the name under which messages of this type are stored."""
    return f"{message_type.__module__.split('.')[0]}.{message_type.__name__}"


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event or a command. Subclasses are frozen dataclasses too, and say their `key`."""

    def __init_subclass__(cls) -> None:
        if type_name(cls) in _types:
            raise TypeError(f"Two message types are called {type_name(cls)}: give one of them another name.")
        _types[type_name(cls)] = cls

    @property
    def key(self) -> UUID:
        """What the message is about: messages of one key reach a consumer in the order they were published."""
        raise NotImplementedError(f"{type(self).__name__} does not say its key")


@dataclass(frozen=True, kw_only=True)
class Event(Message):
    """Something that happened; owned by the context where it did."""


@dataclass(frozen=True, kw_only=True)
class Command(Message):
    """An order to do something; owned by the context that carries it out."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A message in a consumer's hands. `id` is the stored message's: effects name it as their cause."""

    id: int
    message: Message


class TryLater(Exception):
    """What a handler needs outside this database is away: nobody's fault, however long it lasts. `str()` says what it is.

    The message is tried again, later and later, and never dead for it; its key stays held.
    """


class UnexpectedMessage(Exception):
    """A handler met a message that its rules have no place for. It is a dead letter at once: trying again would not help."""


class UndecodableMessage(UnexpectedMessage):
    """The stored message is of no known type, or does not fit its type. Deploy the release that knows it, then replay."""


def message_types() -> dict[str, type[Message]]:
    """Every concrete message type by its stored name."""
    return {name: cls for name, cls in _types.items() if cls not in (Event, Command)}


def to_payload(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = msgspec.to_builtins(message)
    return payload


def from_payload(name: str, payload: dict[str, Any]) -> Message:
    """Raises `UndecodableMessage`."""
    if name not in _types:
        raise UndecodableMessage(f"No message type is called {name}.")
    try:
        return msgspec.convert(payload, type=_types[name])
    except msgspec.ValidationError as error:
        raise UndecodableMessage(f"The payload does not fit {name}: {error}.") from error
