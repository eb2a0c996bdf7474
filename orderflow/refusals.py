"""What every refusal has in common. It knows no rule that could be broken."""

from typing import ClassVar


class Refused(Exception):
    """Somebody asked for what cannot be done; `str()` says what happened and what to do, to the person who asked.

    `code` is stable: programs may rely on it. A plain refusal is about a request that is wrong in itself.
    """

    code: ClassVar[str]


class Conflict(Refused):
    """The request does not fit what is there, or what has happened meanwhile."""


class NotFound(Refused):
    """The request is about something that does not exist."""
