"""The range of expected dates."""

from datetime import UTC, datetime

from orderflow.core.errors import DomainError

MIN_EXPECTED_AT = datetime(2000, 1, 1, tzinfo=UTC)
MAX_EXPECTED_AT = datetime(2100, 1, 1, tzinfo=UTC)  # exclusive


class ExpectedDateOutOfRange(DomainError):
    """`expected_at` is before 2000 or after 2099."""

    code = "expected_date_out_of_range"

    def __init__(self, expected_at: datetime) -> None:
        super().__init__(
            "`expected_at` must be between 2000-01-01 and 2099-12-31, not "
            f"{expected_at:%Y-%m-%d}. Check the year. No changes were made."
        )


def validate_expected_date(expected_at: datetime | None) -> None:
    """Raises: `ExpectedDateOutOfRange`. None is valid: the default lead time is used."""
    if expected_at is not None and not MIN_EXPECTED_AT <= expected_at < MAX_EXPECTED_AT:
        raise ExpectedDateOutOfRange(expected_at)
