"""What drf-spectacular cannot derive: problems, strict bodies, conditional requests, links."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import exceptions
from rest_framework.serializers import ListSerializer

from orderflow.api.body_limit import MAX_BODY_BYTES
from orderflow.api.fields import AdjustmentQuantityField
from orderflow.api.problems import MEDIA_TYPE, VALIDATION_FAILED
from orderflow.core.errors import DomainError

# Codes that belong to no rule: those of Django REST framework, `problems` and `body_limit`.
GENERAL = {
    VALIDATION_FAILED: (
        400,
        "A field or parameter violates the schema; `errors` lists the locations.",
    ),
    exceptions.ParseError.default_code: (400, "The request body is not valid JSON."),
    "bad_request": (400, "The request is malformed, or its host is not allowed."),
    exceptions.NotAuthenticated.default_code: (401, "The request has no credentials."),
    exceptions.AuthenticationFailed.default_code: (
        401,
        "The token is unknown, or its user is inactive.",
    ),
    exceptions.PermissionDenied.default_code: (
        403,
        "The user lacks the permission that `detail` names, or the session lacks a CSRF token.",
    ),
    exceptions.NotFound.default_code: (
        404,
        "No object has this id, no endpoint has this path, or the cursor is not valid.",
    ),
    exceptions.MethodNotAllowed.default_code: (405, "The endpoint does not allow this method."),
    exceptions.NotAcceptable.default_code: (
        406,
        "Only `application/json` responses are available.",
    ),
    "length_required": (411, "The request body is chunked and has no `Content-Length`."),
    "body_too_large": (413, f"The request body exceeds {MAX_BODY_BYTES:,} bytes."),
    exceptions.UnsupportedMediaType.default_code: (
        415,
        "The request body is not declared as `application/json`.",
    ),
    exceptions.Throttled.default_code: (
        429,
        "Too many requests; `Retry-After` gives the seconds to wait.",
    ),
    "server_error": (500, "Internal error; it was logged."),
    "database_unavailable": (
        503,
        "The database is unavailable or overloaded; `Retry-After` gives the seconds to wait.",
    ),
}
_ANY_METHOD = (400, 401, 403, 406, 429, 503)
_POST = (404, 409, 411, 413, 415, 422)


def domain_errors(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    """Yield every error class with a code that a REST endpoint can respond with."""
    for each in base.__subclasses__():
        if "code" in vars(each) and each.in_rest_api:
            yield each
        yield from domain_errors(each)


class ProblemSchema(AutoSchema):
    """Adds to each operation the problems that it can respond with."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        reference = {MEDIA_TYPE: {"schema": self._problem().ref}}
        for status in sorted(self._problem_statuses()):
            operation["responses"][str(status)] = {
                "description": _DESCRIPTIONS[status],
                "content": reference,
            }
        if self.method == "GET" and not self._is_list_view():
            operation["responses"]["304"] = {
                "description": "Not modified; see `ETag` and `If-None-Match`."
            }
        return operation

    def _problem_statuses(self) -> set[int]:
        statuses = {*_ANY_METHOD}
        if "{" in self.path or self._is_list_view():
            statuses.add(404)
        return statuses | {*_POST} if self.method == "POST" else statuses

    def _problem(self) -> ResolvedComponent:
        component = ResolvedComponent(
            "Problem", ResolvedComponent.SCHEMA, schema=_problem_schema(), object="Problem"
        )
        self.registry.register_on_missing(component)
        return component


class StrictSerializerExtension(OpenApiSerializerExtension):
    """Request bodies reject unknown fields, empty lists of lines, and adjustments of 0."""

    target_class = "orderflow.api.inputs.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        for name, field in self.target.fields.items():
            if isinstance(field, ListSerializer) and not field.allow_empty:
                schema["properties"][name]["minItems"] = 1
            if isinstance(field, AdjustmentQuantityField):
                schema["properties"][name]["not"] = {"enum": [0]}
        return {**schema, "additionalProperties": False}


def require_response_fields(result: Any, generator: Any, request: Any, public: Any) -> Any:
    """Mark every field of a response as required: responses always have all of their fields."""
    for name, component in result["components"]["schemas"].items():
        is_request = component.get("additionalProperties") is False
        if "properties" in component and not is_request and name != "Problem":
            component["required"] = sorted(component["properties"])
    return result


def add_links(result: Any, generator: Any, request: Any, public: Any) -> Any:
    """Link each response with an id to the operations on that id."""
    for path, operations in result["paths"].items():
        below = [
            operation["operationId"]
            for other_path, other in result["paths"].items()
            if other_path.startswith(f"{path}{{id}}/")
            for operation in other.values()
        ]
        for method, pointer in (("post", "/id"), ("get", "/results/0/id")):
            responses = operations.get(method, {}).get("responses", {})
            response = responses.get("201" if method == "post" else "200")
            if below and response:
                parameters = {"id": f"$response.body#{pointer}"}
                response["links"] = {
                    name: {"operationId": name, "parameters": parameters} for name in below
                }
    return result


_DESCRIPTIONS = {
    400: "The body, a parameter or the Idempotency-Key violates this schema.",
    401: "The request has no credentials, or the token is unknown.",
    403: "The user lacks the permission.",
    404: "The object does not exist.",
    406: "Only `application/json` responses are available.",
    409: "The request contradicts the current state.",
    411: "The request body has no `Content-Length`.",
    413: "The request body is too large.",
    415: "The request body is not JSON.",
    422: "The request fits this schema and breaks a rule.",
    429: "Too many requests.",
    503: "The database is unavailable or overloaded.",
}


def problem_codes() -> list[str]:
    return sorted({*GENERAL, *(each.code for each in domain_errors())})


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    error = {
        "type": "object",
        "properties": dict.fromkeys(("pointer", "parameter", "detail", "code"), text),
        "required": ["detail", "code"],
    }
    properties = {
        "type": {"type": "string", "format": "uri"},
        "title": text,
        "status": {"type": "integer"},
        "code": {
            "type": "string",
            "enum": problem_codes(),
            "description": "Stable: programs may rely on it.",
        },
        "detail": {
            "type": "string",
            "description": "What happened, why, and what to do; for people.",
        },
        "errors": {
            "type": "array",
            "description": "Each error with a JSON pointer into the body, or with the parameter.",
            "items": error,
        },
    }
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": properties,
    }
