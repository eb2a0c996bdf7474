"""What a request may bring. Its headers say so, before anything of its body is looked at."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from orderflow.api.problems import problem

LARGEST_BODY = 1_000_000  # bytes

Handler = Callable[[HttpRequest], HttpResponse]


def limited_bodies(get_response: Handler) -> Handler:
    """Middleware. Django takes a body without a length for no body: "receive these" would become "receive everything"."""

    def handle(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            if "HTTP_TRANSFER_ENCODING" in request.META:
                detail = "Send the body with a Content-Length, not in chunks. Nothing was done."
                return problem(HTTPStatus.LENGTH_REQUIRED, "length_required", detail)
            if _length(request) > LARGEST_BODY:
                _throw_away_the_body(request)
                detail = f"A body has at most {LARGEST_BODY:,} bytes. Nothing was done: send it in several requests."
                return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)
        return get_response(request)

    return handle


def _throw_away_the_body(request: HttpRequest) -> None:
    """Else the server closes the connection, and the client's next request runs into that. What is huge is worth a new one."""
    while _length(request) <= 10 * LARGEST_BODY and request.read(100_000):
        pass


def _length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() else 0
