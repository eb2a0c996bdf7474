"""Limit the size of request bodies, by their headers, before the body is read."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from orderflow.api.problems import problem

MAX_BODY_BYTES = 1_000_000

View = Callable[[HttpRequest], HttpResponse]


def limit_body_size(get_response: View) -> View:
    """Reject bodies that are too large or have no length (middleware).

    Django reads a body without a length as an empty one: "receive these lines" would become
    "receive everything outstanding".
    """

    def handle(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            if "HTTP_TRANSFER_ENCODING" in request.META:
                return problem(
                    HTTPStatus.LENGTH_REQUIRED,
                    "length_required",
                    "The request body is chunked. Send it with a Content-Length header. "
                    "No changes were made.",
                )
            if _content_length(request) > MAX_BODY_BYTES:
                _read_and_ignore_body(request)
                return problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "body_too_large",
                    f"The request body exceeds {MAX_BODY_BYTES:,} bytes. "
                    "Split it into several requests. No changes were made.",
                )
        return get_response(request)

    return handle


def _read_and_ignore_body(request: HttpRequest) -> None:
    """Read and ignore a body of at most ten times the limit, so that the connection stays usable.

    Otherwise the server closes it, and the client's next request fails.
    """
    while _content_length(request) <= 10 * MAX_BODY_BYTES and request.read(100_000):
        pass


def _content_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() else 0
