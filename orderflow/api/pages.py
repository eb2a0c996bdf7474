"""Lists are handed out page by page, by a cursor: what is added meanwhile neither doubles a row nor hides one.

A cursor is the place of a row in its order, signed: rows with the same time, and there may be thousands, are told apart by their
key (a keyset, or seek, pagination). Django REST framework's own counts them, and loses its place when one is added.
"""

from typing import Any, NamedTuple, cast

from django.contrib.admin.utils import get_fields_from_path
from django.core import signing
from django.db.models import Field, Model, Q
from rest_framework.exceptions import NotFound
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from orderflow.api.parameters import refuse_unknown_parameters, whole_parameter
from orderflow.api.problems import BadParameters

PAGE = 100
LARGEST_PAGE = 1000


class _Place(NamedTuple):
    """Where a page begins: after the row with this value and key, or with `back` before it."""

    back: bool
    value: str
    key: str


class Pages(BasePagination):
    """A view's `orderings` say by what its list can be ordered, each name with its path; `ordering` is how it is ordered."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit = whole_parameter(request, "limit", default=PAGE, lowest=1, highest=LARGEST_PAGE)
        filters = getattr(view, "filterset_class", None)
        refuse_unknown_parameters(request, {"limit", "cursor", "ordering", *(filters.base_filters if filters else ())})
        ordering = _asked_ordering(request, view)
        path, falling = view.orderings[ordering.lstrip("-")], ordering.startswith("-")
        salt = f"{view.__class__.__module__} {view.__class__.__qualname__} {ordering}"
        place = _place(request.query_params.get("cursor"), salt)
        if place:
            queryset = queryset.filter(_beyond(queryset.model, path, place, falling=falling != place.back))
        sign = "-" if falling != bool(place and place.back) else ""
        rows = list(queryset.order_by(f"{sign}{path}", f"{sign}pk")[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit]
        if place and place.back:
            rows.reverse()
        self._url = request.build_absolute_uri()
        self._next = _cursor(rows[-1], path, salt, back=False) if rows and (more or (place and place.back)) else None
        back = bool(rows and place and (not place.back or more))
        self._previous = _cursor(rows[0], path, salt, back=True) if back else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._link(self._next), "previous": self._link(self._previous), "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True, "format": "uri"}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        whole = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE}
        cursor = "The place where the page begins: taken from the links `next` and `previous`, never made up."
        ordering = {"type": "string", "enum": _choices(view), "default": view.ordering}
        return [
            _parameter("limit", "How many at the most.", whole),
            _parameter("cursor", cursor, {"type": "string"}),
            _parameter("ordering", "With a minus: falling.", ordering),
        ]

    def _link(self, cursor: str | None) -> str | None:
        return replace_query_param(self._url, "cursor", cursor) if cursor else None


def _choices(view: Any) -> list[str]:
    return [sign + name for name in view.orderings for sign in ("", "-")]


def _asked_ordering(request: Request, view: Any) -> str:
    asked: str = request.query_params.get("ordering", view.ordering)
    if asked not in _choices(view):
        raise BadParameters({"ordering": [f"It can be ordered by {', '.join(_choices(view))}."]})
    return asked


def _place(cursor: str | None, salt: str) -> _Place | None:
    """Raises DRF's `NotFound`."""
    if cursor is None:
        return None
    try:
        return _Place(*signing.loads(cursor, salt=salt))
    except signing.BadSignature:
        raise NotFound("There is no page with this cursor, in this order. Follow the links `next` and `previous`.") from None


def _cursor(row: Model, path: str, salt: str, *, back: bool) -> str:
    *before, last = path.split("__")
    holder = row
    for name in before:
        holder = getattr(holder, name)
    field = cast("Field[Any, Any]", holder._meta.get_field(last))
    return str(signing.dumps([back, field.value_to_string(holder), str(row.pk)], salt=salt))


def _beyond(model: type[Model], path: str, place: _Place, *, falling: bool) -> Q:
    field = get_fields_from_path(model, path)[-1]
    value, key = field.to_python(place.value), model._meta.pk.to_python(place.key)
    beyond = "lt" if falling else "gt"
    # The first condition follows from the second; databases find their way into an index only by it.
    return Q((f"{path}__{beyond}e", value)) & (Q((f"{path}__{beyond}", value)) | Q((path, value), (f"pk__{beyond}", key)))


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
