"""What the console shows to programs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orderflow.console.waiting import why_it_waits


class OnOrderSerializer(serializers.Serializer[Any]):
    purchase_order_id = serializers.UUIDField()
    purchase_order = serializers.CharField()
    quantity = serializers.IntegerField()
    bought_for_it = serializers.IntegerField(help_text="How much of it was bought for this sales order.")
    expected_at = serializers.DateTimeField()
    overdue = serializers.BooleanField()


class MissingLineSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    held = serializers.IntegerField()
    missing = serializers.IntegerField()
    place_in_line = serializers.IntegerField(allow_null=True, help_text="1 is served next.")
    on_order = OnOrderSerializer(many=True)


class LetterSerializer(serializers.Serializer[Any]):
    """A message about it that failed, is dead, or was discarded."""

    id = serializers.IntegerField()
    consumer = serializers.CharField()
    type = serializers.CharField()
    state = serializers.CharField()
    due_at = serializers.DateTimeField()
    attempts = serializers.IntegerField()
    last_error = serializers.CharField()
    decision = serializers.CharField()


class WhySerializer(serializers.Serializer[Any]):
    sales_order_id = serializers.UUIDField()
    reference = serializers.CharField()
    state = serializers.CharField()
    since = serializers.DateTimeField()
    overdue = serializers.BooleanField()
    needs_attention = serializers.BooleanField()
    sentence = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())
    missing = MissingLineSerializer(many=True)
    letters = LetterSerializer(many=True)


class WhyItWaitsView(APIView):
    """Why a sales order waits: in a sentence, and as data."""

    needs: Mapping[str, str] = {"GET": "sales.view_salesorder"}

    @extend_schema(responses=WhySerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        why = why_it_waits(str(pk))
        if why is None:
            raise Http404
        return Response(WhySerializer(why).data)
