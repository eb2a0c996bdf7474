"""Query parameters. They accept exactly what the schema says."""

from collections.abc import Collection

from rest_framework.request import Request

from orderflow.api.problems import InvalidParameters


def reject_unknown_parameters(request: Request, known: Collection[str]) -> None:
    """Reject unknown query parameters: a misspelled filter must not return the whole list.

    Raises: `InvalidParameters`.
    """
    unknown = sorted(request.query_params.keys() - set(known))
    if unknown:
        text = "Unknown parameter. Check its spelling, or remove it."
        raise InvalidParameters({name: [text] for name in unknown})


def integer_parameter(
    request: Request, name: str, *, default: int, minimum: int, maximum: int
) -> int:
    """Return a query parameter as an integer. Raises: `InvalidParameters`."""
    value: str = request.query_params.get(name, str(default))
    is_number = value.isascii() and value.isdecimal() and len(value) < 20
    if not (is_number and minimum <= int(value) <= maximum):
        text = f"The parameter must be a whole number from {minimum:,} to {maximum:,}."
        raise InvalidParameters({name: [text]})
    return int(value)
