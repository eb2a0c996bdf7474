"""Explanations of objects on their pages, registered by the package that can explain them."""

from collections.abc import Callable, Iterable
from uuid import UUID

from django.utils.safestring import SafeString

from orderflow.admin_tools.links import stacked_list

_explanations: dict[str, Callable[[UUID], Iterable[str]]] = {}


def register_explanation(model: str, explain: Callable[[UUID], Iterable[str]]) -> None:
    """Register what explains the objects of a model, such as "sales.salesorder".

    Filled at import time, by `orderflow.operations.admin`.
    """
    _explanations[model] = explain


def explanation(model: str, pk: UUID) -> SafeString:
    """Return the explanation of an object, one line for each reason."""
    return stacked_list(_explanations[model](pk))
