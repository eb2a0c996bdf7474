"""What a page shows and only somebody who sees more can say. It knows neither the pages nor who explains them."""

from collections.abc import Callable, Iterable
from uuid import UUID

from django.utils.safestring import SafeString

from orderflow.admin_tools.links import one_below_the_other

_explanations: dict[str, Callable[[UUID], Iterable[str]]] = {}


def explained_by(label: str, explain: Callable[[UUID], Iterable[str]]) -> None:
    """Say who explains the objects of a model: `explained_by("sales.salesorder", …)`."""
    _explanations[label] = explain


def explanation(label: str, pk: UUID) -> SafeString:
    return one_below_the_other(_explanations[label](pk))
