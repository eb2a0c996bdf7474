"""Errors as `application/problem+json` (RFC 9457), with a `code` that programs may rely on."""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated, NotFound, Throttled, ValidationError
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import exception_handler

from orderflow.refusals import Conflict, Refused
from orderflow.refusals import NotFound as NothingThere

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


class BadParameters(ValidationError):
    """What is wrong is in the address, behind the question mark."""


class TooManyAttempts(AnonRateThrottle):
    """Whoever fails to say who they are, by address."""

    scope = "failures"


def answer(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """What the client gets instead of an exception. None, a server error, for whatever is not the client's fault."""
    if isinstance(error, Refused):
        return _answer(described(error))
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("The database could not do what a request wanted: %s", str(error).strip())
        return _database_away()
    if isinstance(error, Http404):
        error = NotFound("There is nothing with this id, or nothing at this address. Addresses end with a slash.")
    if isinstance(error, NotAuthenticated | AuthenticationFailed):
        error = _unless_too_often(error, context)
    response = exception_handler(error, context)
    if response is None:
        return None
    headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
    if isinstance(error, ValidationError):
        return _answer(described(error), headers)
    assert isinstance(error, APIException) or response.status_code == HTTPStatus.FORBIDDEN  # Django's PermissionDenied
    code = error.default_code if isinstance(error, APIException) else "permission_denied"
    return problem(response.status_code, code, str(error), headers)


def status_of(refused: type[Refused]) -> HTTPStatus:
    """404 and 409 are about what is there; 422: a request that is well formed, and breaks a rule."""
    if issubclass(refused, NothingThere):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.CONFLICT if issubclass(refused, Conflict) else HTTPStatus.UNPROCESSABLE_ENTITY


def described(error: Refused | ValidationError, *, path: str = "#") -> dict[str, Any]:
    """What is wrong with what somebody wanted. `path`: a JSON pointer to it."""
    if isinstance(error, Refused):
        return _body(status_of(type(error)), error.code, str(error))
    place = "parameter" if isinstance(error, BadParameters) else "pointer"
    body = _body(error.status_code, error.default_code, "It is not as it should be: see `errors`. Nothing was done.")
    return {**body, "errors": list(_places(error.detail, place, path))}


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return _answer(_body(status, code, detail), headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django itself takes for suspicious: a wrong host, say."""
    if not _is_for_programs(request):
        return defaults.bad_request(request, exception)
    return problem(400, "bad_request", "The request is malformed: its host or its address is not one that this server knows.")


def server_error(request: HttpRequest) -> HttpResponse:
    if not _is_for_programs(request):
        return defaults.server_error(request)
    return problem(500, "server_error", "Something went wrong here, and it was noted. Nothing was done.")


def _is_for_programs(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _answer(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JsonResponse:
    """It asks no renderer: whoever accepts no JSON is told so in JSON."""
    return JsonResponse(body, status=body["status"], headers=headers, content_type=MEDIA_TYPE)


def _body(status: int, code: str, detail: str) -> dict[str, Any]:
    """The members of a problem. `type` and `title` follow from the code: programs may look at whichever they like."""
    title = code.replace("_", " ").capitalize()
    return {"type": f"urn:orderflow:problem:{code}", "title": title, "status": int(status), "code": code, "detail": detail}


def _places(detail: Any, place: str, path: str) -> Iterator[dict[str, str]]:
    """What is wrong, each with its place: a JSON pointer into the body, or the name of a parameter."""
    if isinstance(detail, Mapping):
        inside = [(path if name == "non_field_errors" else _below(path, name, place), each) for name, each in detail.items()]
    elif detail and not isinstance(detail[0], str):
        inside = [(_below(path, index, place), each) for index, each in enumerate(detail)]
    else:
        for each in detail:
            yield {place: path, "detail": str(each), "code": each.code}
        return
    for below, each in inside:
        yield from _places(each, place, below)


def _below(path: str, name: object, place: str) -> str:
    escaped = str(name).replace("~", "~0").replace("/", "~1")
    return str(name) if place == "parameter" else f"{path}/{escaped}"


def _database_away() -> HttpResponse:
    detail = "The database is away or too busy. Nothing was done: try again in a moment, under the same id or Idempotency-Key."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "database_away", detail, {"Retry-After": "2"})


def _unless_too_often(error: APIException, context: dict[str, Any]) -> APIException:
    throttle = TooManyAttempts()
    if throttle.allow_request(context["request"], context["view"]):
        return error
    return Throttled(throttle.wait())
