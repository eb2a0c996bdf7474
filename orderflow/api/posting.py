"""What every POST has in common: its body is checked, it is answered once, and the schema knows what comes in and goes out."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from orderflow.api.idempotency import HEADER, answered_once
from orderflow.api.parameters import refuse_unknown_parameters

_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="Made up by you, one for each request, and the same when you send it again: it is then answered as before.",
)

Handle = Callable[..., Any]


def accepts(
    what: type[BaseSerializer[Any]], *, shows: type[BaseSerializer[Any]], status: int = HTTPStatus.OK, **schema: Any
) -> Callable[[Handle], Callable[..., HttpResponse]]:
    """A view's `post(request, given, …)`: `given` is the checked body. What it returns is shown.

    The body is checked before anything is done; whatever the handler raises is answered by `problems`.
    """

    def decorate(post: Handle) -> Callable[..., HttpResponse]:
        @extend_schema(request=what, responses={int(status): shows}, parameters=[_KEY], **schema)
        @wraps(post)
        def handle(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            def answer() -> Response:
                refuse_unknown_parameters(request, ())
                asked = what(data=request.data)
                asked.is_valid(raise_exception=True)
                result = post(view, request, asked.validated_data, *args, **kwargs)
                return Response(shows(result).data, status=status)

            return answered_once(request, answer, view.handle_exception)

        return handle

    return decorate


def who(request: Request) -> str:
    """The name under which a write is noted."""
    return str(request.user.get_username())
