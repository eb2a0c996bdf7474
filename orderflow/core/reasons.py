"""The reason that a user gives with a decision."""

from orderflow.core.errors import DomainError

MAX_REASON_LENGTH = 200


class ReasonTooLong(DomainError):
    """The reason has more than 200 characters."""

    code = "reason_too_long"
    in_rest_api = False  # request validation rejects such reasons first

    def __init__(self, length: int) -> None:
        super().__init__(
            f"The reason has {length:,} characters; at most {MAX_REASON_LENGTH} are allowed. "
            "Shorten it. No changes were made."
        )


def validate_reason(reason: str) -> str:
    """Return the reason without surrounding spaces. Raises: `ReasonTooLong`."""
    reason = reason.strip()
    if len(reason) > MAX_REASON_LENGTH:
        raise ReasonTooLong(len(reason))
    return reason
