"""Why somebody decided something: kept in a history. It knows none of the histories."""

from orderflow.refusals import Refused

REASON_LENGTH = 200


class ReasonTooLong(Refused):
    """A reason is longer than can be kept."""

    code = "reason_too_long"

    def __init__(self, length: int) -> None:
        super().__init__(f"A reason has at most {REASON_LENGTH} characters, not {length:,}. Say it in fewer words.")


def checked_reason(reason: str) -> str:
    """Without the blanks around it. Raises `ReasonTooLong`."""
    reason = reason.strip()
    if len(reason) > REASON_LENGTH:
        raise ReasonTooLong(len(reason))
    return reason
