"""Error responses as `application/problem+json` (RFC 9457), with a stable `code`."""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import views
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
    NotFound,
    Throttled,
    ValidationError,
)
from rest_framework.throttling import AnonRateThrottle

from orderflow.core.errors import ConflictError, DomainError, NotFoundError

MEDIA_TYPE = "application/problem+json"
VALIDATION_FAILED = "validation_failed"

logger = logging.getLogger(__name__)


class InvalidParameters(ValidationError):
    """Query parameters that the schema does not allow."""


class AuthFailureThrottle(AnonRateThrottle):
    """Limits failed authentication, by client address."""

    scope = "auth_failures"


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the response to an exception; None for a server error, which Django handles."""
    if isinstance(error, DomainError):
        return _response(problem_body(error))
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning(
            "A request failed, database unavailable or overloaded: %s", str(error).strip()
        )
        return _database_unavailable()
    if isinstance(error, Http404):
        error = NotFound(
            "No object has this id, or no endpoint has this path. Check both; paths end with a "
            "slash."
        )
    if isinstance(error, NotAuthenticated | AuthenticationFailed):
        error = _throttled_if_repeated(error, context)
    response = views.exception_handler(error, context)
    if response is None:
        return None
    headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
    if isinstance(error, ValidationError):
        return _response(problem_body(error), headers)
    if isinstance(error, APIException):
        return problem(response.status_code, error.default_code, str(error), headers)
    assert response.status_code == HTTPStatus.FORBIDDEN  # Django's own PermissionDenied
    return problem(response.status_code, "permission_denied", str(error), headers)


def status_of(error: type[DomainError]) -> HTTPStatus:
    """Return 404 for a `NotFoundError`, 409 for a `ConflictError`, and otherwise 422.

    An error class of this package may define its own `http_status`.
    """
    own: HTTPStatus | None = getattr(error, "http_status", None)
    if own:
        return own
    if issubclass(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    if issubclass(error, ConflictError):
        return HTTPStatus.CONFLICT
    return HTTPStatus.UNPROCESSABLE_ENTITY


def problem_body(error: DomainError | ValidationError, *, pointer: str = "#") -> dict[str, Any]:
    """Return the problem of an error. `pointer`: JSON pointer to the part of the body."""
    if isinstance(error, DomainError):
        return _body(status_of(type(error)), error.code, str(error))
    location = "parameter" if isinstance(error, InvalidParameters) else "pointer"
    detail = "The request is not valid; see `errors`. No changes were made."
    body = _body(error.status_code, VALIDATION_FAILED, detail)
    return {**body, "errors": list(_errors(error.detail, location, pointer))}


def problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    return _response(_body(status, code, detail), headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a request that Django itself rejects, such as one for an unknown host."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    detail = (
        "The request is malformed, or its host is not one of ORDERFLOW_ALLOWED_HOSTS. "
        "Check the URL. No changes were made."
    )
    return problem(400, "bad_request", detail)


def server_error(request: HttpRequest) -> HttpResponse:
    if not _is_api(request):
        return defaults.server_error(request)
    detail = (
        "Internal error; it was logged. No changes were made. If it happens again, contact your "
        "administrator."
    )
    return problem(500, "server_error", detail)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _response(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JsonResponse:
    """Respond in JSON without content negotiation, also to clients that do not accept JSON."""
    return JsonResponse(body, status=body["status"], headers=headers, content_type=MEDIA_TYPE)


def _body(status: int, code: str, detail: str) -> dict[str, Any]:
    """Return the members of a problem; `type` and `title` are derived from the code."""
    title = code.replace("_", " ").capitalize()
    return {
        "type": f"urn:orderflow:problem:{code}",
        "title": title,
        "status": int(status),
        "code": code,
        "detail": detail,
    }


def _errors(detail: Any, location: str, path: str) -> Iterator[dict[str, str]]:
    """Yield the errors of a validation, each with its JSON pointer or parameter."""
    if isinstance(detail, Mapping):
        nested = [
            (path if name == "non_field_errors" else _append(path, name, location), each)
            for name, each in detail.items()
        ]
    elif isinstance(detail, list | tuple) and detail and not isinstance(detail[0], str):
        nested = [(_append(path, index, location), each) for index, each in enumerate(detail)]
    else:
        for each in detail if isinstance(detail, list | tuple) else [detail]:
            yield {location: path, "detail": str(each), "code": each.code}
        return
    for nested_path, each in nested:
        yield from _errors(each, location, nested_path)


def _append(path: str, name: object, location: str) -> str:
    if location == "parameter":
        return str(name)
    escaped = str(name).replace("~", "~0").replace("/", "~1")
    return f"{path}/{escaped}"


def _database_unavailable() -> HttpResponse:
    detail = (
        "The database is unavailable or overloaded. No changes were made. Repeat the request in a "
        "few seconds, with the same id or Idempotency-Key."
    )
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable", detail, {"Retry-After": "2"}
    )


def _throttled_if_repeated(error: APIException, context: dict[str, Any]) -> APIException:
    throttle = AuthFailureThrottle()
    if throttle.allow_request(context["request"], context["view"]):
        return error
    return Throttled(throttle.wait())
