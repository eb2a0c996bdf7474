"""`/api/stock/`"""

import uuid
from typing import Any

from django.db.models import F, QuerySet
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orderflow.api.lines import Input
from orderflow.api.pages import BySku, NewestFirst
from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.catalog.services import product_ids
from orderflow.reasons import REASON_LENGTH
from stock.models import Balance, ReceiptReversal, Reservation, ReservationLine, ReservationStatus, StockAdjustment
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt


class LevelSerializer(serializers.ModelSerializer[Balance]):
    sku = serializers.CharField()
    waiting = serializers.IntegerField(help_text="What those in line still lack.")

    class Meta:
        model = Balance
        fields = ["sku", "on_hand", "reserved", "available", "waiting"]


class Levels(generics.ListAPIView[Balance]):
    serializer_class = LevelSerializer
    pagination_class = BySku
    queryset: QuerySet[Balance] = Balance.objects.with_waiting().annotate(sku=F("product__sku"))


class AdjustmentSerializer(Input):
    id = serializers.UUIDField(default=uuid.uuid4)
    sku = serializers.CharField(max_length=100)
    quantity = serializers.IntegerField(min_value=-LARGEST_QUANTITY, max_value=LARGEST_QUANTITY)
    reason = serializers.CharField(max_length=REASON_LENGTH)


class Adjustments(generics.GenericAPIView[StockAdjustment]):
    serializer_class = AdjustmentSerializer
    queryset: QuerySet[StockAdjustment] = StockAdjustment.objects.all()

    def post(self, request: Request) -> Response:
        asked = AdjustmentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        product_id = product_ids([data["sku"]])[data["sku"]]
        adjustment = Adjustment(id=data["id"], product_id=product_id, quantity=data["quantity"], reason=data["reason"])
        adjust_stock([adjustment], by=request.user.get_username())
        return Response(AdjustmentSerializer(data).data, status=status.HTTP_201_CREATED)


class ReversalSerializer(Input):
    id = serializers.UUIDField(default=uuid.uuid4)
    receipt_id = serializers.UUIDField()
    sku = serializers.CharField(max_length=100)
    quantity = serializers.IntegerField(min_value=1, max_value=LARGEST_QUANTITY)
    reason = serializers.CharField(max_length=REASON_LENGTH)


class Reversals(generics.GenericAPIView[ReceiptReversal]):
    serializer_class = ReversalSerializer
    queryset: QuerySet[ReceiptReversal] = ReceiptReversal.objects.all()

    def post(self, request: Request) -> Response:
        asked = ReversalSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        product_id = product_ids([data["sku"]])[data.pop("sku")]
        reverse_receipt(Reversal(product_id=product_id, **data), by=request.user.get_username())
        return Response(ReversalSerializer(asked.validated_data).data, status=status.HTTP_201_CREATED)


class ReservationLineSerializer(serializers.ModelSerializer[ReservationLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = ReservationLine
        fields = ["sku", "quantity", "held"]


class ReservationSerializer(serializers.ModelSerializer[Reservation]):
    lines = ReservationLineSerializer(many=True)

    class Meta:
        model = Reservation
        fields = ["id", "status", "priority", "placed_at", "lines"]


class ReservationPages(NewestFirst):
    ordering = ("-placed_at", "-pk")


class ReservationFilter(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=ReservationStatus.choices, required=False)
    sku = serializers.CharField(source="lines__product__sku", required=False)
    order = serializers.UUIDField(source="id", required=False)


class Reservations(generics.ListAPIView[Reservation]):
    """`?status=`, `?sku=` and `?order=` (a sales order's id) narrow the list."""

    serializer_class = ReservationSerializer
    pagination_class = ReservationPages
    queryset: QuerySet[Reservation] = Reservation.objects.prefetch_related("lines__product")

    def get_queryset(self) -> QuerySet[Reservation]:
        asked = ReservationFilter(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return super().get_queryset().filter(**asked.validated_data)
