"""Examples in the schema. It is its readers' first impression, and what a checker of the schema sends first."""

from typing import Any

from drf_spectacular.utils import OpenApiExample


def example(name: str, value: Any) -> OpenApiExample:
    """What may come in."""
    return OpenApiExample(name, value, request_only=True)
