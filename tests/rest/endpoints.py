"""The endpoints under /api/v1/, from Django's URL configuration, and their permissions."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from orderflow.api.views import UnknownEndpoint

PREFIX = "api/v1/"


def endpoints() -> Iterator[tuple[str, str, str | None]]:
    """Yield method, path below /api/v1/, and permission; None: any authenticated user."""
    for pattern, view in _patterns(get_resolver().url_patterns, ""):
        if pattern.startswith(PREFIX) and view is not UnknownEndpoint:
            for method in ("GET", "POST"):
                if hasattr(view, method.lower()):
                    path = pattern.removeprefix(PREFIX).replace("<uuid:pk>", "{id}")
                    permissions = getattr(view, "required_permissions", {method: None})
                    yield method, path, permissions[method]


def _patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from _patterns(each.url_patterns, f"{prefix}{each.pattern}")
        elif isinstance(each, URLPattern) and hasattr(each.callback, "cls"):
            yield f"{prefix}{each.pattern}", each.callback.cls
