"""`/api/stock/`"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.examples import example
from orderflow.api.fields import Id, Quantity, Reason, Sku
from orderflow.api.filters import Before, Since, Word
from orderflow.api.lines import Input
from orderflow.api.posting import accepts, who
from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.catalog.services import product_ids
from stock.models import Balance, Movement, ReceiptReversal, Reservation, ReservationLine, ReservationStatus, StockAdjustment
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt

# -- what comes in ----------------------------------------------------------------------------------------------------------


@extend_schema_serializer(examples=[example("Found", {"sku": "CHAIR", "quantity": 10, "reason": "opening stock"})])
class AdjustmentInput(Input):
    id = Id()
    sku = Sku()
    quantity = Quantity(min_value=-LARGEST_QUANTITY, help_text="More than the balance says or, with a minus, less.")
    reason = Reason()


@extend_schema_serializer(
    examples=[
        example(
            "Counted wrongly",
            {"receipt_id": "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9", "sku": "CHAIR", "quantity": 1, "reason": "one was miscounted"},
        )
    ]
)
class ReversalInput(Input):
    id = Id()
    receipt_id = Id(required=True, help_text="See the purchase order's receipts/.")
    sku = Sku()
    quantity = Quantity(help_text="How much of it has not arrived.")
    reason = Reason()


# -- what goes out ----------------------------------------------------------------------------------------------------------


class LevelSerializer(serializers.ModelSerializer[Balance]):
    sku = serializers.CharField(source="product.sku")
    available = serializers.IntegerField(help_text="On hand, less what is reserved.")
    waiting = serializers.IntegerField(help_text="What those in line still lack.")

    class Meta:
        model = Balance
        fields = ["sku", "on_hand", "reserved", "available", "waiting"]


class AdjustmentSerializer(serializers.ModelSerializer[StockAdjustment]):
    id = serializers.UUIDField(source="document")
    sku = serializers.CharField(source="product.sku")
    quantity = serializers.IntegerField(source="on_hand")

    class Meta:
        model = StockAdjustment
        fields = ["id", "sku", "quantity", "reason", "by", "at"]


class ReversalSerializer(serializers.ModelSerializer[ReceiptReversal]):
    id = serializers.UUIDField(source="document")
    receipt_id = serializers.UUIDField(source="corrects")
    sku = serializers.CharField(source="product.sku")
    quantity = serializers.SerializerMethodField()

    class Meta:
        model = ReceiptReversal
        fields = ["id", "receipt_id", "sku", "quantity", "reason", "by", "at"]

    def get_quantity(self, reversal: ReceiptReversal) -> int:
        return -reversal.on_hand


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


# -- addresses --------------------------------------------------------------------------------------------------------------


class LevelFilter(filters.FilterSet):
    sku = Word("product__sku")


class Levels(generics.ListAPIView[Balance]):
    """How much of each product lies on the shelf, is promised, and is waited for."""

    needs = {"GET": "stock.view_balance"}
    serializer_class = LevelSerializer
    queryset: QuerySet[Balance] = Balance.objects.with_waiting().select_related("product")
    filterset_class = LevelFilter
    orderings = {"sku": "product__sku", "on_hand": "on_hand"}
    ordering = "sku"


class Adjustments(generics.GenericAPIView[StockAdjustment]):
    needs = {"POST": "stock.add_stockadjustment"}
    serializer_class = AdjustmentSerializer
    queryset: QuerySet[StockAdjustment] = StockAdjustment.objects.filter(kind=Movement.ADJUSTED).select_related("product")

    @accepts(AdjustmentInput, shows=AdjustmentSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> StockAdjustment:
        """Correct what lies on the shelf. What is found serves those who wait."""
        adjust_stock([Adjustment(**_with_product(given))], by=who(request))
        return self.get_queryset().get(document=given["id"])


class Reversals(generics.GenericAPIView[ReceiptReversal]):
    needs = {"POST": "stock.add_receiptreversal"}
    serializer_class = ReversalSerializer
    queryset: QuerySet[ReceiptReversal] = ReceiptReversal.objects.filter(kind=Movement.REVERSED).select_related("product")

    @accepts(ReversalInput, shows=ReversalSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> ReceiptReversal:
        """Take back what was counted wrongly when goods arrived."""
        reverse_receipt(Reversal(**_with_product(given)), by=who(request))
        return self.get_queryset().get(document=given["id"])


class ReservationFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=ReservationStatus.choices, help_text="Several: any of them.")
    sku = Word("lines__product__sku")
    order = filters.UUIDFilter(field_name="id", strip=False, help_text="A sales order's id.")
    created_since, created_before = Since("placed_at"), Before("placed_at")


class Reservations(generics.ListAPIView[Reservation]):
    """What Stock promises to each sales order. A reservation's id is the sales order's."""

    needs = {"GET": "stock.view_reservation"}
    serializer_class = ReservationSerializer
    queryset: QuerySet[Reservation] = Reservation.objects.prefetch_related("lines__product")
    filterset_class = ReservationFilter
    orderings = {"placed_at": "placed_at", "priority": "priority"}
    ordering = "-placed_at"


def _with_product(given: Mapping[str, Any]) -> dict[str, Any]:
    """The product's id in place of its SKU. Raises `UnknownProducts`."""
    rest = dict(given)
    sku = rest.pop("sku")
    return {**rest, "product_id": product_ids([sku])[sku]}
