"""Build the texts that commands print."""

from orderflow.core.errors import DomainError

MAX_VALUES = 50  # in one text
MAX_LENGTH = 60  # characters of one value


def pluralize(number: int, noun: str) -> str:
    """Return "1 line", "2 lines"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def quoted(*values: str) -> str:
    """Return values in double quotes: shortened, and with control characters escaped."""
    first = ", ".join(_quote(value) for value in values[:MAX_VALUES])
    hidden = len(values) - MAX_VALUES
    return f"{first} and {hidden:,} more" if hidden > 0 else first


def cause_of(error: DomainError) -> str:
    """Return the text without "No changes were made.", which is false after earlier batches."""
    return str(error).removesuffix("No changes were made.").rstrip()


def _quote(value: str) -> str:
    text = value if len(value) <= MAX_LENGTH else f"{value[:MAX_LENGTH]}…"
    return '"' + "".join(each if each.isprintable() else repr(each)[1:-1] for each in text) + '"'
