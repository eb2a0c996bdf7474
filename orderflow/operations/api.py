"""The explanation of a sales order, at `/api/v1/sales/orders/{id}/explanation/`"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orderflow.messaging.models import QueuedMessageStatus
from orderflow.operations.explanation import explain
from sales.queries import STATUS_CHOICES


class OnOrderQuantitySerializer(serializers.Serializer[Any]):
    purchase_order_id = serializers.UUIDField()
    purchase_order_reference = serializers.CharField()
    quantity = serializers.IntegerField()
    pegged_quantity = serializers.IntegerField(
        help_text="The part of the quantity that is pegged to this sales order."
    )
    expected_at = serializers.DateTimeField()
    overdue = serializers.BooleanField()


class ShortageSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    reserved = serializers.IntegerField()
    shortage = serializers.IntegerField()
    queue_position = serializers.IntegerField(
        allow_null=True, help_text="1 is allocated next; null until Stock has replied."
    )
    on_order = OnOrderQuantitySerializer(many=True)


class FailedMessageSerializer(serializers.Serializer[Any]):
    """A message about the sales order that failed, is a dead letter, or was discarded."""

    message_id = serializers.IntegerField()
    consumer = serializers.CharField()
    type = serializers.CharField()
    status = serializers.ChoiceField(choices=QueuedMessageStatus.choices)
    due_at = serializers.DateTimeField()
    attempts = serializers.IntegerField()
    last_error = serializers.CharField()
    resolution_log = serializers.CharField(help_text="Each replay and discard of the message.")


class SalesOrderExplanationSerializer(serializers.Serializer[Any]):
    sales_order_id = serializers.UUIDField()
    reference = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUS_CHOICES)
    status_changed_at = serializers.DateTimeField()
    overdue = serializers.BooleanField()
    needs_attention = serializers.BooleanField()
    summary = serializers.CharField(help_text="The whole explanation in one text.")
    reasons = serializers.ListField(
        child=serializers.CharField(), help_text="What blocks the order."
    )
    shortages = ShortageSerializer(many=True)
    failed_messages = FailedMessageSerializer(many=True)


class SalesOrderExplanationView(APIView):
    """Explain why a sales order is not closed, as text and as data."""

    required_permissions: Mapping[str, str] = {"GET": "sales.view_salesorder"}

    @extend_schema(responses=SalesOrderExplanationSerializer, operation_id="sales_orders_explain")
    def get(self, request: Request, pk: UUID) -> Response:
        explanation = explain(str(pk))
        if explanation is None:
            raise Http404
        return Response(SalesOrderExplanationSerializer(explanation).data)
