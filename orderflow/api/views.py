"""The endpoints that belong to no app: the schema, its pages, and unknown endpoints."""

from typing import Any, NoReturn

from django.http import Http404
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


class Schema(SpectacularJSONAPIView):
    """The OpenAPI 3 schema."""


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI, served by this server alone."""

    template_name = "orderflow/docs.html"
    url_name = "schema"


class UnknownEndpoint(APIView):
    """Every other path under /api/."""

    permission_classes = [IsAuthenticated]

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        super().initial(request, *args, **kwargs)
        raise Http404
