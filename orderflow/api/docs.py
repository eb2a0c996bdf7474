"""What there is at every address that is nobody's: the schema, its pages, and a clear no."""

from typing import Any, NoReturn

from django.http import Http404
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


class Schema(SpectacularJSONAPIView):
    """The schema, as OpenAPI 3."""


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI, all of it from this server."""

    template_name = "orderflow/docs.html"
    url_name = "schema"


class Nothing(APIView):
    """Every other address under /api/."""

    permission_classes = [IsAuthenticated]

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        super().initial(request, *args, **kwargs)
        raise Http404
