"""Request examples in the schema."""

from typing import Any

from drf_spectacular.utils import OpenApiExample


def example(name: str, value: Any) -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)
