"""Filters of lists. They accept exactly what the schema says; everything else is rejected."""

from datetime import UTC, datetime
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django_filters import rest_framework as filters
from django_filters.utils import translate_validation
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from orderflow.api.problems import InvalidParameters

# Converting times beyond these to another offset would leave the calendar.
_MIN_TIME, _MAX_TIME = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


class StrictFilterBackend(filters.DjangoFilterBackend):
    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        empty = [name for name in filterset.filters if "" in request.query_params.getlist(name)]
        if empty:  # django-filter would ignore them
            text = "The parameter is empty. Give a value, or omit the parameter."
            raise InvalidParameters({name: [text] for name in empty})
        if not filterset.is_valid():
            error: Any = translate_validation(filterset.errors)
            raise InvalidParameters(error.detail)
        return filterset.qs


@extend_schema_field(OpenApiTypes.BOOL)
class BooleanFilter(filters.TypedChoiceFilter):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=[("true", "true"), ("false", "false")],
            coerce=lambda value: value == "true",
            empty_value=None,
            **kwargs,
        )


@extend_schema_field(OpenApiTypes.DATETIME)
class SinceFilter(filters.IsoDateTimeFilter):
    """This time or later."""

    lookup = "gte"

    def __init__(self, field_name: str) -> None:
        validators = [
            MinValueValidator(_MIN_TIME, "The time must be in year 2 or later."),
            MaxValueValidator(_MAX_TIME, "The time must be before year 9998."),
        ]
        super().__init__(field_name=field_name, lookup_expr=self.lookup, validators=validators)

    def filter(self, queryset: Any, time: datetime | None) -> Any:
        """Filter in UTC: PostgreSQL accepts no offset beyond 15:59, RFC 3339 does."""
        return super().filter(queryset, time.astimezone(UTC) if time else None)


@extend_schema_field(OpenApiTypes.DATETIME)
class BeforeFilter(SinceFilter):
    """Earlier than this time."""

    lookup = "lt"


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 200})
class ExactFilter(filters.CharFilter):
    """Exactly this text."""

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name=field_name, strip=False, max_length=200, **kwargs)
