"""Errors as `application/problem+json` (RFC 9457), with a `code` that programs may rely on."""

from http import HTTPStatus
from typing import Any

from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from orderflow.refusals import Conflict, NotFound, Refused


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """What the client gets instead of an exception. None, a server error, for whatever is not the client's fault."""
    if isinstance(error, Refused):
        return _problem(_status_of(error), error.code, str(error))
    response = exception_handler(error, context)
    if response is None:
        return None
    code = error.default_code if isinstance(error, APIException) else HTTPStatus(response.status_code).name.lower()
    detail = "Some fields are not as they should be." if isinstance(error, ValidationError) else str(error)
    problem = _problem(HTTPStatus(response.status_code), code, detail)
    if isinstance(error, ValidationError):
        problem.data["errors"] = error.detail
    for name, value in response.headers.items():
        if name != "Content-Type":
            problem.headers[name] = value
    return problem


def _status_of(refused: Refused) -> HTTPStatus:
    match refused:
        case NotFound():
            return HTTPStatus.NOT_FOUND
        case Conflict():
            return HTTPStatus.CONFLICT
    return HTTPStatus.BAD_REQUEST


def _problem(status: HTTPStatus, code: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    return Response(body, status=status.value, content_type="application/problem+json")
