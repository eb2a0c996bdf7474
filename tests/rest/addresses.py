"""What Django's own table of addresses says is there under /api/, and what a user needs for it."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver


def addresses() -> Iterator[tuple[str, str, str | None]]:
    """Method, path below /api/, and the permission; None: whoever is known may."""
    for pattern, view in _patterns(get_resolver().url_patterns, ""):
        if pattern.startswith("api/") and view.__name__ != "Nothing":
            for method in ("GET", "POST"):
                if hasattr(view, method.lower()):
                    path = pattern.removeprefix("api/").replace("<uuid:pk>", "{id}")
                    yield method, path, getattr(view, "needs", {method: None})[method]


def _patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from _patterns(each.url_patterns, f"{prefix}{each.pattern}")
        elif isinstance(each, URLPattern) and hasattr(each.callback, "cls"):
            yield f"{prefix}{each.pattern}", each.callback.cls
