"""Parse and validate the values of a CSV file."""

import re
from collections.abc import Callable

from orderflow.operations.management.texts import quoted

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class InvalidValue(ValueError):
    """A value that its column cannot contain. `str()` continues a text that names the column."""


def text(*, max_length: int, blank: bool) -> Callable[[str], str]:
    """Return a parser of texts; it raises `InvalidValue`."""

    def parse(value: str) -> str:
        if not value and not blank:
            raise InvalidValue("is empty. A value is required.")
        if len(value) > max_length:
            raise InvalidValue(f"has {len(value):,} characters. At most {max_length} are allowed.")
        return value

    return parse


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from minimum to maximum; it raises `InvalidValue`."""

    def parse(value: str) -> int:
        if _WHOLE_NUMBER.fullmatch(value) and minimum <= int(value) <= maximum:
            return int(value)
        raise InvalidValue(
            f"is {quoted(value)}. It must be a whole number from {minimum:,} to {maximum:,}."
        )

    return parse
