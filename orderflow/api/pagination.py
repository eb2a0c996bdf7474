"""Cursor pagination: rows that are added while a client pages are neither repeated nor skipped.

A cursor is the signed position of a row: the value that the list is ordered by, and the primary
key, which orders rows with equal values (keyset pagination). Django REST framework's cursor counts
rows with equal values instead, and loses its position when one is added.
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

from orderflow.api.parameters import integer_parameter, reject_unknown_parameters
from orderflow.api.problems import InvalidParameters

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class _Position(NamedTuple):
    """A page begins after the row with this value and key; with `backward`, it ends before it."""

    backward: bool
    value: str
    key: str


class KeysetPagination(BasePagination):
    """A view defines `orderings` (field path by name) and its default `ordering`."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit = integer_parameter(
            request, "limit", default=DEFAULT_PAGE_SIZE, minimum=1, maximum=MAX_PAGE_SIZE
        )
        filterset = getattr(view, "filterset_class", None)
        filters = filterset.base_filters if filterset else ()
        reject_unknown_parameters(request, {"limit", "cursor", "ordering", *filters})
        ordering = _requested_ordering(request, view)
        path, descending = view.orderings[ordering.lstrip("-")], ordering.startswith("-")
        salt = f"{view.__class__.__module__} {view.__class__.__qualname__} {ordering}"
        position = _position(request.query_params.get("cursor"), salt)
        backward = bool(position and position.backward)
        if position:
            beyond = _beyond(queryset.model, path, position, descending=descending != backward)
            queryset = queryset.filter(beyond)
        sign = "-" if descending != backward else ""
        rows = list(queryset.order_by(f"{sign}{path}", f"{sign}pk")[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit]
        if backward:
            rows.reverse()
        self._url = request.build_absolute_uri()
        has_next = bool(rows) and (more or backward)
        has_previous = bool(rows and position and (not backward or more))
        self._next = _cursor(rows[-1], path, salt, backward=False) if has_next else None
        self._previous = _cursor(rows[0], path, salt, backward=True) if has_previous else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "next": self._link(self._next),
                "previous": self._link(self._previous),
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True, "format": "uri"}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGE_SIZE,
            "default": DEFAULT_PAGE_SIZE,
        }
        ordering = {"type": "string", "enum": _choices(view), "default": view.ordering}
        cursor = "An opaque value from the links `next` and `previous`."
        return [
            _parameter("limit", "Maximum number of results.", limit),
            _parameter("cursor", cursor, {"type": "string"}),
            _parameter("ordering", "A leading minus means descending.", ordering),
        ]

    def _link(self, cursor: str | None) -> str | None:
        return replace_query_param(self._url, "cursor", cursor) if cursor else None


def _choices(view: Any) -> list[str]:
    return [sign + name for name in view.orderings for sign in ("", "-")]


def _requested_ordering(request: Request, view: Any) -> str:
    ordering: str = request.query_params.get("ordering", view.ordering)
    if ordering not in _choices(view):
        text = f"The parameter must be one of {', '.join(_choices(view))}."
        raise InvalidParameters({"ordering": [text]})
    return ordering


def _position(cursor: str | None, salt: str) -> _Position | None:
    """Return the position that the cursor contains. Raises: DRF's `NotFound`."""
    if cursor is None:
        return None
    try:
        return _Position(*signing.loads(cursor, salt=salt))
    except signing.BadSignature:
        raise NotFound(
            "The cursor is not valid for this list and ordering. Follow the links `next` and "
            "`previous`."
        ) from None


def _cursor(row: Model, path: str, salt: str, *, backward: bool) -> str:
    *relations, name = path.split("__")
    holder = row
    for relation in relations:
        holder = getattr(holder, relation)
    field = cast("Field[Any, Any]", holder._meta.get_field(name))
    position = [backward, field.value_to_string(holder), str(row.pk)]
    return str(signing.dumps(position, salt=salt))


def _beyond(model: type[Model], path: str, position: _Position, *, descending: bool) -> Q:
    field = get_fields_from_path(model, path)[-1]
    value, key = field.to_python(position.value), model._meta.pk.to_python(position.key)
    lookup = "lt" if descending else "gt"
    after = Q((f"{path}__{lookup}", value)) | Q((path, value), (f"pk__{lookup}", key))
    # Implied by `after`, but databases use an index only with this simpler condition.
    return Q((f"{path}__{lookup}e", value)) & after


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
