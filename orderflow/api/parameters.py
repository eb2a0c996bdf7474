"""What stands behind the question mark of an address. It takes exactly what the schema says."""

from collections.abc import Collection

from rest_framework.request import Request

from orderflow.api.problems import BadParameters


def refuse_unknown_parameters(request: Request, known: Collection[str]) -> None:
    """A filter that was mistyped must not mean "everything". Raises `BadParameters`."""
    unknown = sorted(request.query_params.keys() - set(known))
    if unknown:
        raise BadParameters({name: ["There is no such parameter."] for name in unknown})


def whole_parameter(request: Request, name: str, *, default: int, lowest: int, highest: int) -> int:
    """A parameter that is a whole number. Raises `BadParameters`."""
    given: str = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 20 and lowest <= int(given) <= highest):
        raise BadParameters({name: [f"A whole number from {lowest:,} to {highest:,} is wanted."]})
    return int(given)
