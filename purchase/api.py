"""The REST endpoints under `/api/v1/purchase/`."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.decorators import accepts, actor_of
from orderflow.api.examples import example
from orderflow.api.fields import (
    ClientIdField,
    StrictBooleanField,
    StrictCharField,
    StrictDateTimeField,
    StrictIntegerField,
)
from orderflow.api.filters import BeforeFilter, BooleanFilter, ExactFilter, SinceFilter
from orderflow.api.inputs import Decision, LineListField, StrictSerializer
from orderflow.catalog.services import product_quantities
from purchase.contract import PeggedQuantity
from purchase.lifecycle import Status
from purchase.models import (
    ExternalReceipt,
    ExternalReceiptLine,
    PurchaseOrder,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    Receipt,
    ReceiptLine,
)
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    receive_goods,
    reschedule,
)
from purchase.services.external import ExternalReceiptDraft, check_external, receive_external

STATUS_CHOICES = [(status.value, status.label) for status in Status]

# -- request bodies ------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        example(
            "A purchase order",
            {"reference": "P-1001", "lines": [{"sku": "CHAIR", "quantity": 20}]},
        )
    ]
)
class PurchaseOrderCreate(StrictSerializer):
    """A purchase order to create."""

    id = ClientIdField()
    reference = StrictCharField(
        max_length=100,
        default="",
        allow_blank=True,
        help_text="Your reference; generated if omitted.",
    )
    expected_at = StrictDateTimeField(
        required=False, help_text="If omitted, the default lead time is used."
    )
    lines = LineListField()


@extend_schema_serializer(
    examples=[
        example("Later", {"expected_at": "2031-05-17T09:30:00Z", "reason": "the ship is delayed"})
    ]
)
class PurchaseOrderReschedule(Decision):
    """The new expected date of a purchase order."""

    expected_at = StrictDateTimeField()


@extend_schema_serializer(
    examples=[
        example("A partial receipt", {"lines": [{"sku": "CHAIR", "quantity": 5}]}),
        example("Everything outstanding", {}),
    ]
)
class ReceiptCreate(Decision):
    """A receipt to record."""

    id = ClientIdField(help_text="Id of the receipt; an id is recorded once.")
    lines = LineListField(required=False, help_text="Default: everything outstanding.")


@extend_schema_serializer(
    examples=[
        example(
            "The first receipt",
            {
                "purchase_order_id": "5d0ca5a6-8e3c-4c4b-9a9e-0c9c1b2f3a4d",
                "sequence_number": 1,
                "id": "0e3a7c1e-58f0-4a63-9c8e-5b2f1d4a6c7b",
                "lines": [{"sku": "CHAIR", "quantity": 5}],
                "final": False,
            },
        )
    ]
)
class ExternalReceiptCreate(StrictSerializer):
    """A receipt that an external system reports."""

    purchase_order_id = ClientIdField(required=True)
    sequence_number = StrictIntegerField(
        min_value=1,
        max_value=2**31 - 1,
        help_text="Number within the purchase order, without gaps; 1 for the first receipt.",
    )
    id = ClientIdField(required=True, help_text="Id of the receipt.")
    lines = LineListField(
        allow_empty=True, help_text="May be empty if `final` is true and nothing arrived."
    )
    final = StrictBooleanField(help_text="No further goods will arrive.")


# -- responses -----------------------------------------------------------------------------------


class PurchaseOrderLineSerializer(serializers.ModelSerializer[PurchaseOrderLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = PurchaseOrderLine
        fields = ["sku", "quantity", "received"]


class PurchaseOrderSerializer(serializers.ModelSerializer[PurchaseOrder]):
    lines = PurchaseOrderLineSerializer(many=True)

    class Meta:
        model = PurchaseOrder
        fields = [
            "id",
            "reference",
            "status",
            "ordered_at",
            "updated_at",
            "expected_at",
            "overdue",
            "external",
            "actor",
            "lines",
        ]


class ReceiptLineSerializer(serializers.ModelSerializer[ReceiptLine]):
    sku = serializers.CharField(source="line.product.sku")

    class Meta:
        model = ReceiptLine
        fields = ["sku", "quantity", "reversed"]


class ReceiptSerializer(serializers.ModelSerializer[Receipt]):
    lines = ReceiptLineSerializer(many=True)

    class Meta:
        model = Receipt
        fields = ["id", "sequence_number", "created_at", "actor", "reason", "lines"]


class ExternalReceiptLineSerializer(serializers.ModelSerializer[ExternalReceiptLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = ExternalReceiptLine
        fields = ["sku", "quantity"]


class ExternalReceiptSerializer(serializers.ModelSerializer[ExternalReceipt]):
    purchase_order_id = serializers.UUIDField(source="order_id")
    id = serializers.UUIDField(source="receipt_id")
    applied = serializers.BooleanField(
        help_text="False: buffered until every lower sequence number is applied."
    )
    lines = ExternalReceiptLineSerializer(many=True)

    class Meta:
        model = ExternalReceipt
        fields = [
            "purchase_order_id",
            "sequence_number",
            "id",
            "final",
            "applied",
            "created_at",
            "actor",
            "lines",
        ]


class PurchaseOrderHistoryEntrySerializer(serializers.ModelSerializer[PurchaseOrderHistoryEntry]):
    class Meta:
        model = PurchaseOrderHistoryEntry
        fields = [
            "from_status",
            "to_status",
            "description",
            "message_id",
            "actor",
            "reason",
            "created_at",
        ]


# -- endpoints -----------------------------------------------------------------------------------


class PurchaseOrderFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(
        choices=STATUS_CHOICES, help_text="May be repeated: any of these statuses."
    )
    reference = ExactFilter("reference")
    sku = ExactFilter("lines__product__sku", distinct=True)
    overdue = BooleanFilter(field_name="overdue")
    ordered_since, ordered_before = SinceFilter("ordered_at"), BeforeFilter("ordered_at")
    updated_since, updated_before = SinceFilter("updated_at"), BeforeFilter("updated_at")


class _PurchaseOrderView(generics.GenericAPIView[PurchaseOrder]):
    required_permissions: Mapping[str, str] = {
        "GET": "purchase.view_purchaseorder",
        "POST": "purchase.change_purchaseorder",
    }
    serializer_class = PurchaseOrderSerializer
    queryset: QuerySet[PurchaseOrder] = PurchaseOrder.objects.prefetch_related("lines__product")

    def read(self, purchase_order_id: UUID) -> PurchaseOrder:
        """Return the purchase order as it is now."""
        return self.get_queryset().get(id=purchase_order_id)


class PurchaseOrderList(_PurchaseOrderView, generics.ListAPIView[PurchaseOrder]):
    """List the purchase orders, newest first."""

    required_permissions = {
        "GET": "purchase.view_purchaseorder",
        "POST": "purchase.add_purchaseorder",
    }
    filterset_class = PurchaseOrderFilter
    orderings = {
        "ordered_at": "ordered_at",
        "updated_at": "updated_at",
        "expected_at": "expected_at",
        "reference": "reference",
    }
    ordering = "-ordered_at"

    @accepts(PurchaseOrderCreate, shows=PurchaseOrderSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> PurchaseOrder:
        """Create a purchase order. With a client-supplied id, repeating the request is safe."""
        lines = [
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity)
            for line in product_quantities(given["lines"])
        ]
        draft = PurchaseOrderDraft(**{**given, "lines": lines})
        [order] = create_purchase_orders([draft], actor=actor_of(request))
        return self.read(order.id)


class PurchaseOrderDetail(_PurchaseOrderView, generics.RetrieveAPIView[PurchaseOrder]):
    """Return one purchase order."""


class PurchaseOrderReceipts(generics.ListAPIView[Receipt]):
    """List the receipts of a purchase order. A receipt reversal needs the id of a receipt."""

    required_permissions = {"GET": "purchase.view_receipt"}
    serializer_class = ReceiptSerializer
    queryset: QuerySet[Receipt] = Receipt.objects.prefetch_related("lines__line__product")
    orderings = {"sequence_number": "sequence_number"}
    ordering = "sequence_number"

    def get_queryset(self) -> QuerySet[Receipt]:
        order = get_object_or_404(PurchaseOrder, id=self.kwargs["pk"])
        return super().get_queryset().filter(order=order)


class PurchaseOrderHistory(generics.ListAPIView[PurchaseOrderHistoryEntry]):
    """List the decisions about a purchase order, with actor and reason."""

    required_permissions = {"GET": "purchase.view_purchaseorder"}
    serializer_class = PurchaseOrderHistoryEntrySerializer
    queryset: QuerySet[PurchaseOrderHistoryEntry] = PurchaseOrderHistoryEntry.objects.all()
    orderings = {"created_at": "id"}
    ordering = "created_at"

    def get_queryset(self) -> QuerySet[PurchaseOrderHistoryEntry]:
        order = get_object_or_404(PurchaseOrder, id=self.kwargs["pk"])
        return super().get_queryset().filter(order=order)


class ReceivePurchaseOrder(_PurchaseOrderView):
    required_permissions = {"POST": "purchase.receive_purchaseorder"}

    @accepts(ReceiptCreate, shows=PurchaseOrderSerializer, operation_id="purchase_orders_receive")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Record a receipt: the given lines or, without lines, everything outstanding."""
        lines = product_quantities(given["lines"]) if "lines" in given else None
        draft = ReceiptDraft(purchase_order_id=pk, id=given["id"], lines=lines)
        receive_goods([draft], actor=actor_of(request), reason=given["reason"])
        return self.read(pk)


class CancelPurchaseOrder(_PurchaseOrderView):
    @accepts(Decision, shows=PurchaseOrderSerializer, operation_id="purchase_orders_cancel")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Cancel a purchase order.

        Repeating has no further effect; 409 if goods were received or it is closed short.
        """
        cancel_purchase_orders([pk], actor=actor_of(request), **given)
        return self.read(pk)


class ClosePurchaseOrderShort(_PurchaseOrderView):
    @accepts(Decision, shows=PurchaseOrderSerializer, operation_id="purchase_orders_close_short")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Close a purchase order short: no further goods will arrive.

        Repeating has no further effect; 409 if it is received or cancelled.
        """
        close_short([pk], actor=actor_of(request), **given)
        return self.read(pk)


class ReschedulePurchaseOrder(_PurchaseOrderView):
    @accepts(
        PurchaseOrderReschedule,
        shows=PurchaseOrderSerializer,
        operation_id="purchase_orders_reschedule",
    )
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Set another expected date, which clears the overdue flag; 409 if it is closed."""
        reschedule(pk, actor=actor_of(request), **given)
        return self.read(pk)


class ExternalReceiptCreateView(generics.GenericAPIView[ExternalReceipt]):
    required_permissions = {"POST": "purchase.add_externalreceipt"}
    serializer_class = ExternalReceiptSerializer
    queryset: QuerySet[ExternalReceipt] = ExternalReceipt.objects.all()

    @accepts(ExternalReceiptCreate, shows=ExternalReceiptSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> ExternalReceipt:
        """Report a receipt of an external purchase order.

        If a lower sequence number is missing, the receipt is buffered.
        """
        # Before the SKUs, so that a relay receives `purchase_order_not_found`.
        check_external(given["purchase_order_id"])
        draft = ExternalReceiptDraft(**{**given, "lines": product_quantities(given["lines"])})
        return receive_external(draft, actor=actor_of(request))
