"""The base classes of the errors that users and programs see."""

from typing import ClassVar


class DomainError(Exception):
    """The request breaks a rule; no changes were made.

    `str()` says what happened, why, and what to do. `code` is stable: programs may rely on it.
    `in_rest_api`: whether a REST endpoint can respond with it.
    """

    code: ClassVar[str]
    in_rest_api: ClassVar[bool] = True


class ConflictError(DomainError):
    """The request contradicts the current state."""


class NotFoundError(DomainError):
    """The request names an object that does not exist."""
