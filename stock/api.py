"""The REST endpoints under `/api/v1/stock/`."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.decorators import accepts, actor_of
from orderflow.api.examples import example
from orderflow.api.fields import (
    AdjustmentQuantityField,
    ClientIdField,
    QuantityField,
    ReasonField,
    SkuField,
)
from orderflow.api.filters import BeforeFilter, ExactFilter, SinceFilter
from orderflow.api.inputs import StrictSerializer
from orderflow.catalog.services import product_ids
from stock.models import (
    MovementType,
    ReceiptReversal,
    Reservation,
    ReservationLine,
    ReservationStatus,
    StockAdjustment,
    StockLevel,
)
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt

# -- request bodies ------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        example("Opening stock", {"sku": "CHAIR", "quantity": 10, "reason": "opening stock"})
    ]
)
class StockAdjustmentCreate(StrictSerializer):
    """A correction of on hand."""

    id = ClientIdField()
    sku = SkuField()
    quantity = AdjustmentQuantityField(
        help_text="Positive adds stock, negative removes stock; not 0."
    )
    reason = ReasonField()


@extend_schema_serializer(
    examples=[
        example(
            "One unit too many",
            {
                "receipt_id": "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9",
                "sku": "CHAIR",
                "quantity": 1,
                "reason": "one was miscounted",
            },
        )
    ]
)
class ReceiptReversalCreate(StrictSerializer):
    """A received quantity to reverse."""

    id = ClientIdField()
    receipt_id = ClientIdField(
        required=True, help_text="The receipt; see the receipts of the purchase order."
    )
    sku = SkuField()
    quantity = QuantityField(help_text="Quantity to reverse.")
    reason = ReasonField()


# -- responses -----------------------------------------------------------------------------------


class StockLevelSerializer(serializers.ModelSerializer[StockLevel]):
    sku = serializers.CharField(source="product.sku")
    available = serializers.IntegerField(help_text="On hand minus reserved.")
    backordered = serializers.IntegerField(help_text="Sum of the shortages of reservations.")

    class Meta:
        model = StockLevel
        fields = ["sku", "on_hand", "reserved", "available", "backordered"]


class StockAdjustmentSerializer(serializers.ModelSerializer[StockAdjustment]):
    id = serializers.UUIDField(source="source_document_id")
    sku = serializers.CharField(source="product.sku")
    quantity = serializers.IntegerField(source="on_hand")

    class Meta:
        model = StockAdjustment
        fields = ["id", "sku", "quantity", "reason", "actor", "created_at"]


class ReceiptReversalSerializer(serializers.ModelSerializer[ReceiptReversal]):
    id = serializers.UUIDField(source="source_document_id")
    receipt_id = serializers.UUIDField(source="reversed_receipt_id")
    sku = serializers.CharField(source="product.sku")
    quantity = serializers.SerializerMethodField()

    class Meta:
        model = ReceiptReversal
        fields = ["id", "receipt_id", "sku", "quantity", "reason", "actor", "created_at"]

    def get_quantity(self, reversal: ReceiptReversal) -> int:
        return -reversal.on_hand


class ReservationLineSerializer(serializers.ModelSerializer[ReservationLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = ReservationLine
        fields = ["sku", "quantity", "reserved"]


class ReservationSerializer(serializers.ModelSerializer[Reservation]):
    lines = ReservationLineSerializer(many=True)

    class Meta:
        model = Reservation
        fields = ["id", "status", "priority", "placed_at", "lines"]


# -- endpoints -----------------------------------------------------------------------------------


class StockLevelFilter(filters.FilterSet):
    sku = ExactFilter("product__sku")


class StockLevelList(generics.ListAPIView[StockLevel]):
    """List the stock levels: on hand, reserved, available and backordered, by SKU."""

    required_permissions = {"GET": "stock.view_stocklevel"}
    serializer_class = StockLevelSerializer
    queryset: QuerySet[StockLevel] = StockLevel.objects.with_backordered().select_related(
        "product"
    )
    filterset_class = StockLevelFilter
    orderings = {"sku": "product__sku", "on_hand": "on_hand"}
    ordering = "sku"


class StockAdjustmentCreateView(generics.GenericAPIView[StockAdjustment]):
    required_permissions = {"POST": "stock.add_stockadjustment"}
    serializer_class = StockAdjustmentSerializer
    queryset: QuerySet[StockAdjustment] = StockAdjustment.objects.filter(
        movement_type=MovementType.ADJUSTED
    ).select_related("product")

    @accepts(StockAdjustmentCreate, shows=StockAdjustmentSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> StockAdjustment:
        """Correct on hand. Added stock is allocated to backorders."""
        adjust_stock([Adjustment(**_with_product_id(given))], actor=actor_of(request))
        return self.get_queryset().get(source_document_id=given["id"])


class ReceiptReversalCreateView(generics.GenericAPIView[ReceiptReversal]):
    required_permissions = {"POST": "stock.add_receiptreversal"}
    serializer_class = ReceiptReversalSerializer
    queryset: QuerySet[ReceiptReversal] = ReceiptReversal.objects.filter(
        movement_type=MovementType.REVERSED
    ).select_related("product")

    @accepts(ReceiptReversalCreate, shows=ReceiptReversalSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> ReceiptReversal:
        """Reverse a quantity that was received by mistake."""
        reverse_receipt(Reversal(**_with_product_id(given)), actor=actor_of(request))
        return self.get_queryset().get(source_document_id=given["id"])


class ReservationFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(
        choices=ReservationStatus.choices, help_text="May be repeated: any of these statuses."
    )
    sku = ExactFilter("lines__product__sku")
    sales_order_id = filters.UUIDFilter(
        field_name="id", strip=False, help_text="The sales order of the reservation."
    )
    placed_since, placed_before = SinceFilter("placed_at"), BeforeFilter("placed_at")


class ReservationList(generics.ListAPIView[Reservation]):
    """List the reservations, newest first. The id is the sales order's id."""

    required_permissions = {"GET": "stock.view_reservation"}
    serializer_class = ReservationSerializer
    queryset: QuerySet[Reservation] = Reservation.objects.prefetch_related("lines__product")
    filterset_class = ReservationFilter
    orderings = {"placed_at": "placed_at", "priority": "priority"}
    ordering = "-placed_at"


def _with_product_id(given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the SKU by the product id. Raises: `UnknownSku`."""
    rest = dict(given)
    sku = rest.pop("sku")
    return {**rest, "product_id": product_ids([sku])[sku]}
