"""What drf-spectacular cannot see for itself: errors, fields that are refused, conditional requests, where answers lead to."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import exceptions
from rest_framework.serializers import ListSerializer

from orderflow.api.problems import MEDIA_TYPE
from orderflow.refusals import Refused

# Codes that no rule of ours gives: what Django REST framework says, and what `problems` and `limits` say.
GENERAL = {
    exceptions.ValidationError.default_code: (
        400,
        "A field or a parameter is not what the schema says; `errors` names the places.",
    ),
    exceptions.ParseError.default_code: (400, "The body is no JSON."),
    "bad_request": (400, "The host, or the address, is malformed."),
    exceptions.NotAuthenticated.default_code: (401, "Nobody said who is asking."),
    exceptions.AuthenticationFailed.default_code: (401, "The token is not known, or its user is inactive."),
    exceptions.PermissionDenied.default_code: (
        403,
        "The user lacks the permission that `detail` names; or a session without CSRF token.",
    ),
    exceptions.NotFound.default_code: (404, "There is nothing with this id, at this address, or with this cursor."),
    exceptions.MethodNotAllowed.default_code: (405, "The address is right, the method is not."),
    exceptions.NotAcceptable.default_code: (406, "Only JSON is to be had."),
    "length_required": (411, "The body came in chunks, without a Content-Length."),
    "body_too_large": (413, "The body has more than a megabyte."),
    exceptions.UnsupportedMediaType.default_code: (415, "The body is not declared as application/json."),
    exceptions.Throttled.default_code: (429, "Too many requests; `Retry-After` says how long to wait."),
    "server_error": (500, "A mistake of ours. It was logged."),
    "database_away": (503, "The database is away, or too busy. `Retry-After` says how long to wait."),
}
_ANYWHERE = (400, 401, 403, 406, 429, 503)
_ON_POST = (404, 409, 411, 413, 415, 422)


def refusals(kind: type[Refused] = Refused) -> Iterator[type[Refused]]:
    """Every refusal that somebody can meet."""
    for each in kind.__subclasses__():
        if "code" in vars(each):
            yield each
        yield from refusals(each)


class Described(AutoSchema):
    """Operations with the problems that they may answer with."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        reference = {MEDIA_TYPE: {"schema": self._problem().ref}}
        for status in sorted(self._problem_statuses()):
            operation["responses"][str(status)] = {"description": _DESCRIPTIONS[status], "content": reference}
        if self.method == "GET" and not self._is_list_view():
            operation["responses"]["304"] = {"description": "It is as it was: see `ETag` and `If-None-Match`."}
        return operation

    def _problem_statuses(self) -> set[int]:
        statuses = {*_ANYWHERE}
        if "{" in self.path or self._is_list_view():
            statuses.add(404)
        return statuses | {*_ON_POST} if self.method == "POST" else statuses

    def _problem(self) -> ResolvedComponent:
        component = ResolvedComponent("Problem", ResolvedComponent.SCHEMA, schema=_problem_schema(), object="Problem")
        self.registry.register_on_missing(component)
        return component


class ExactInput(OpenApiSerializerExtension):
    """Whatever takes in a body refuses fields that nobody knows."""

    target_class = "orderflow.api.lines.Input"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        for name, field in self.target.fields.items():
            if isinstance(field, ListSerializer) and not field.allow_empty:
                schema["properties"][name]["minItems"] = 1
        return {**schema, "additionalProperties": False}


def with_links(result: Any, generator: Any, request: Any, public: Any) -> Any:
    """Say where an answer leads to: whatever has an id can be asked about, and acted on, under its address."""
    for path, operations in result["paths"].items():
        below = [
            operation["operationId"]
            for other, others in result["paths"].items()
            if other.startswith(f"{path}{{id}}/")
            for operation in others.values()
        ]
        for method, place in (("post", "/id"), ("get", "/results/0/id")):
            answers = operations.get(method, {}).get("responses", {})
            answer = answers.get("201" if method == "post" else "200")
            if below and answer:
                link = {"parameters": {"id": f"$response.body#{place}"}}
                answer["links"] = {name: {"operationId": name, **link} for name in below}
    return result


_DESCRIPTIONS = {
    400: "The body or the parameters are not what this schema says.",
    401: "Nobody said who is asking, or the token is not known.",
    403: "The user lacks the permission.",
    404: "There is no such thing.",
    406: "Only JSON is to be had.",
    409: "It does not fit what is there, or what has happened meanwhile.",
    411: "The body came without a Content-Length.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "It is well formed, and breaks a rule.",
    429: "Too many requests.",
    503: "The database is away, or too busy.",
}


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    codes = sorted({*GENERAL, *(each.code for each in refusals())})
    place = {"type": "object", "properties": dict.fromkeys(("pointer", "parameter", "detail", "code"), text)}
    properties = {
        "type": {"type": "string", "format": "uri"},
        "title": text,
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": codes, "description": "Stable: programs may rely on it."},
        "detail": {"type": "string", "description": "What happened and what to do, for a person."},
        "errors": {
            "type": "array",
            "description": "What is wrong, each with a JSON pointer into the body or the name of a parameter.",
            "items": {**place, "required": ["detail", "code"]},
        },
    }
    return {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": properties}
