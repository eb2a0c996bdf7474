"""The errors that users and programs see. Knows no rule."""

from typing import ClassVar


class DomainError(Exception):
    """A request that breaks a rule; no changes were made.

    `str()` says what happened, why, and what to do. `code` is stable: programs may rely on it.
    `in_rest_api`: whether a REST endpoint can respond with it.
    """

    code: ClassVar[str]
    in_rest_api: ClassVar[bool] = True


class ConflictError(DomainError):
    """A request that contradicts the current state."""


class NotFoundError(DomainError):
    """A request about something that does not exist."""
