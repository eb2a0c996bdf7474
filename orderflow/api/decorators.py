"""The decorator of every POST method: checked body, idempotency key, schema."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from orderflow.api.idempotency import HEADER, idempotent_response
from orderflow.api.parameters import reject_unknown_parameters

_IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="A new key for each request, and the same key when the request is repeated: the "
    "stored response is then returned. A random UUID is suitable.",
)

Handle = Callable[..., Any]


def accepts(
    body: type[BaseSerializer[Any]],
    *,
    shows: type[BaseSerializer[Any]],
    status: int = HTTPStatus.OK,
    **schema: Any,
) -> Callable[[Handle], Callable[..., HttpResponse]]:
    """Decorate a view's `post(request, given, …)`; `given` is the validated body.

    The return value of `post` is rendered by `shows`. Exceptions become problems.
    """

    def decorate(post: Handle) -> Callable[..., HttpResponse]:
        @extend_schema(
            request=body,
            responses={int(status): shows},
            parameters=[_IDEMPOTENCY_KEY],
            **schema,
        )
        @wraps(post)
        def handle(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            def respond() -> Response:
                reject_unknown_parameters(request, ())
                serializer = body(data=request.data)
                serializer.is_valid(raise_exception=True)
                result = post(view, request, serializer.validated_data, *args, **kwargs)
                return Response(shows(result).data, status=status)

            return idempotent_response(request, respond, view.handle_exception)

        return handle

    return decorate


def actor_of(request: Request) -> str:
    """Return the user name that is stored as the actor."""
    return str(request.user.get_username())
