"""What the console shows to programs."""

from uuid import UUID

import msgspec
from django.http import Http404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orderflow.console.waiting import why_it_waits


class Why(APIView):
    """Why a sales order waits: in a sentence, and as data."""

    permission_classes = [IsAuthenticated]

    def get(self, request: Request, pk: UUID) -> Response:
        why = why_it_waits(str(pk))
        if why is None:
            raise Http404
        return Response(msgspec.to_builtins(why))
