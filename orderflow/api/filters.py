"""What lists can be narrowed by. It takes exactly what the schema says: what it cannot understand is refused, not ignored."""

from datetime import UTC, datetime
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django_filters import rest_framework as filters
from django_filters.utils import translate_validation
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from orderflow.api.problems import BadParameters

_EARLIEST, _LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)  # beyond, offsets leave the calendar


class Filters(filters.DjangoFilterBackend):
    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        empty = [name for name in filterset.filters if "" in request.query_params.getlist(name)]
        if empty:  # django-filter would take it for not given
            raise BadParameters({name: ["It is empty. Leave it away, or say what is wanted."] for name in empty})
        if not filterset.is_valid():
            refused: Any = translate_validation(filterset.errors)
            raise BadParameters(refused.detail)
        return filterset.qs


@extend_schema_field(OpenApiTypes.BOOL)
class Flag(filters.TypedChoiceFilter):
    def __init__(self, **kwargs: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(choices=choices, coerce=lambda given: given == "true", empty_value=None, **kwargs)


@extend_schema_field(OpenApiTypes.DATETIME)
class Since(filters.IsoDateTimeFilter):
    """From this moment on."""

    lookup = "gte"

    def __init__(self, field_name: str) -> None:
        far = [MinValueValidator(_EARLIEST, "That is too long ago."), MaxValueValidator(_LATEST, "That is too far away.")]
        super().__init__(field_name=field_name, lookup_expr=self.lookup, validators=far)

    def filter(self, queryset: Any, moment: datetime | None) -> Any:
        """PostgreSQL knows no offset beyond 15:59, RFC 3339 does."""
        return super().filter(queryset, moment.astimezone(UTC) if moment else None)


@extend_schema_field(OpenApiTypes.DATETIME)
class Before(Since):
    """Before this moment."""

    lookup = "lt"


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 200})
class Word(filters.CharFilter):
    """Exactly this."""

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name=field_name, strip=False, max_length=200, **kwargs)
