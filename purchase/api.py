"""`/api/purchase/`"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.examples import example
from orderflow.api.fields import Id, Moment, Text, Whole, Yes
from orderflow.api.filters import Before, Flag, Since, Word
from orderflow.api.lines import Input, LinesInput, ReasonInput, product_quantities
from orderflow.api.posting import accepts, who
from purchase.contract import PeggedQuantity
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderChange,
    PurchaseOrderLine,
    Receipt,
    ReceiptLine,
    RemoteReceipt,
    RemoteReceiptLine,
)
from purchase.receiving import Status
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    expect_goods,
    receive_goods,
)
from purchase.services.elsewhere import RemoteReport, check_kept_elsewhere, take_remote_receipt

# -- what comes in ----------------------------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[example("An order to a supplier", {"reference": "P-1001", "lines": [{"sku": "CHAIR", "quantity": 20}]})]
)
class NewPurchaseOrderInput(Input):
    id = Id()
    reference = Text(
        max_length=100, default="", allow_blank=True, help_text="Your own name for it; made up where it is not given."
    )
    expected_at = Moment(required=False, help_text="Not given: after the usual lead time.")
    lines = LinesInput()


@extend_schema_serializer(examples=[example("Later", {"expected_at": "2031-05-17T09:30:00Z", "reason": "the boat is late"})])
class ExpectedInput(ReasonInput):
    expected_at = Moment()


@extend_schema_serializer(
    examples=[example("A part", {"lines": [{"sku": "CHAIR", "quantity": 5}]}), example("All that is still to come", {})]
)
class ArrivalInput(ReasonInput):
    id = Id(help_text="The receipt's id: the same one counts once.")
    lines = LinesInput(required=False, help_text="Not given: everything that is still to come.")


@extend_schema_serializer(
    examples=[
        example(
            "The first part",
            {
                "purchase_order_id": "5d0ca5a6-8e3c-4c4b-9a9e-0c9c1b2f3a4d",
                "number": 1,
                "id": "0e3a7c1e-58f0-4a63-9c8e-5b2f1d4a6c7b",
                "lines": [{"sku": "CHAIR", "quantity": 5}],
                "complete": False,
            },
        )
    ]
)
class RemoteReceiptInput(Input):
    purchase_order_id = Id(required=True)
    number = Whole(min_value=1, max_value=2**31 - 1, help_text="Within the purchase order, without gaps: 1 for the first.")
    id = Id(required=True, help_text="The receipt's id.")
    lines = LinesInput(allow_empty=True, help_text="None, where only the rest will not come.")
    complete = Yes(help_text="Nothing more will come: what is missing then never will.")


# -- what goes out ----------------------------------------------------------------------------------------------------------


class PurchaseOrderLineSerializer(serializers.ModelSerializer[PurchaseOrderLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = PurchaseOrderLine
        fields = ["sku", "quantity", "received"]


class PurchaseOrderSerializer(serializers.ModelSerializer[PurchaseOrder]):
    lines = PurchaseOrderLineSerializer(many=True)

    class Meta:
        model = PurchaseOrder
        fields = ["id", "reference", "status", "ordered_at", "updated_at", "expected_at", "overdue", "elsewhere", "by", "lines"]


class ReceiptLineSerializer(serializers.ModelSerializer[ReceiptLine]):
    sku = serializers.CharField(source="line.product.sku")

    class Meta:
        model = ReceiptLine
        fields = ["sku", "quantity", "reversed"]


class ReceiptSerializer(serializers.ModelSerializer[Receipt]):
    lines = ReceiptLineSerializer(many=True)

    class Meta:
        model = Receipt
        fields = ["id", "number", "at", "by", "reason", "lines"]


class RemoteReceiptLineSerializer(serializers.ModelSerializer[RemoteReceiptLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = RemoteReceiptLine
        fields = ["sku", "quantity"]


class RemoteReceiptSerializer(serializers.ModelSerializer[RemoteReceipt]):
    purchase_order_id = serializers.UUIDField(source="order_id")
    id = serializers.UUIDField(source="receipt_id")
    booked = serializers.BooleanField(help_text="False: it is parked until those before it have come.")
    lines = RemoteReceiptLineSerializer(many=True)

    class Meta:
        model = RemoteReceipt
        fields = ["purchase_order_id", "number", "id", "complete", "booked", "at", "by", "lines"]


class PurchaseOrderChangeSerializer(serializers.ModelSerializer[PurchaseOrderChange]):
    class Meta:
        model = PurchaseOrderChange
        fields = ["from_status", "to_status", "what", "message_id", "by", "reason", "at"]


# -- addresses --------------------------------------------------------------------------------------------------------------


class PurchaseOrderFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(
        choices=[(each.value, each.value) for each in Status], help_text="Several: any of them."
    )
    reference = Word("reference")
    sku = Word("lines__product__sku", distinct=True)
    overdue = Flag(field_name="overdue")
    created_since, created_before = Since("ordered_at"), Before("ordered_at")
    updated_since, updated_before = Since("updated_at"), Before("updated_at")


class _PurchaseOrders(generics.GenericAPIView[PurchaseOrder]):
    needs: Mapping[str, str] = {"GET": "purchase.view_purchaseorder", "POST": "purchase.change_purchaseorder"}
    serializer_class = PurchaseOrderSerializer
    queryset: QuerySet[PurchaseOrder] = PurchaseOrder.objects.prefetch_related("lines__product")

    def shown(self, purchase_order_id: UUID) -> PurchaseOrder:
        """As it is now."""
        return self.get_queryset().get(id=purchase_order_id)


class PurchaseOrders(_PurchaseOrders, generics.ListAPIView[PurchaseOrder]):
    """Orders to suppliers, the newest first."""

    needs = {"GET": "purchase.view_purchaseorder", "POST": "purchase.add_purchaseorder"}
    filterset_class = PurchaseOrderFilter
    orderings = {"ordered_at": "ordered_at", "updated_at": "updated_at", "expected_at": "expected_at", "reference": "reference"}
    ordering = "-ordered_at"

    @accepts(NewPurchaseOrderInput, shows=PurchaseOrderSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> PurchaseOrder:
        """Order from a supplier. Under an id that you supply, the same again is the same purchase order, as it is now."""
        lines = [
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in product_quantities(given["lines"])
        ]
        [order] = create_purchase_orders([NewPurchaseOrder(**{**given, "lines": lines})], by=who(request))
        return self.shown(order.id)


class OnePurchaseOrder(_PurchaseOrders, generics.RetrieveAPIView[PurchaseOrder]):
    """An order to a supplier, and what of it has arrived."""


class PurchaseOrderReceipts(generics.ListAPIView[Receipt]):
    """What arrived for it, and when: the ids that reversals want to know."""

    needs = {"GET": "purchase.view_receipt"}
    serializer_class = ReceiptSerializer
    queryset: QuerySet[Receipt] = Receipt.objects.prefetch_related("lines__line__product")
    orderings = {"number": "number"}
    ordering = "number"

    def get_queryset(self) -> QuerySet[Receipt]:
        return super().get_queryset().filter(order=get_object_or_404(PurchaseOrder, id=self.kwargs["pk"]))


class PurchaseOrderHistory(generics.ListAPIView[PurchaseOrderChange]):
    """What was decided about it: when, by whom, why."""

    needs = {"GET": "purchase.view_purchaseorder"}
    serializer_class = PurchaseOrderChangeSerializer
    queryset: QuerySet[PurchaseOrderChange] = PurchaseOrderChange.objects.all()
    orderings = {"at": "id"}
    ordering = "at"

    def get_queryset(self) -> QuerySet[PurchaseOrderChange]:
        return super().get_queryset().filter(order=get_object_or_404(PurchaseOrder, id=self.kwargs["pk"]))


class ReceivePurchaseOrder(_PurchaseOrders):
    needs = {"POST": "purchase.receive_purchaseorder"}

    @accepts(ArrivalInput, shows=PurchaseOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Its goods arrived: those of the lines or, without lines, everything that was still to come."""
        lines = product_quantities(given["lines"]) if "lines" in given else None
        arrival = Arrival(purchase_order_id=pk, id=given["id"], lines=lines)
        receive_goods([arrival], by=who(request), reason=given["reason"])
        return self.shown(pk)


class CancelPurchaseOrder(_PurchaseOrders):
    @accepts(ReasonInput, shows=PurchaseOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Nothing of it will come. Again changes nothing; 409 where a part has arrived."""
        cancel_purchase_orders([pk], by=who(request), **given)
        return self.shown(pk)


class ClosePurchaseOrderShort(_PurchaseOrders):
    @accepts(ReasonInput, shows=PurchaseOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """The rest of it will never come. Again changes nothing; 409 where nothing or everything has arrived."""
        close_short([pk], by=who(request), **given)
        return self.shown(pk)


class ExpectPurchaseOrder(_PurchaseOrders):
    @accepts(ExpectedInput, shows=PurchaseOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> PurchaseOrder:
        """Its goods are expected then; until then it is not overdue."""
        expect_goods(pk, by=who(request), **given)
        return self.shown(pk)


class RemoteReceipts(generics.GenericAPIView[RemoteReceipt]):
    needs = {"POST": "purchase.add_remotereceipt"}
    serializer_class = RemoteReceiptSerializer
    queryset: QuerySet[RemoteReceipt] = RemoteReceipt.objects.all()

    @accepts(RemoteReceiptInput, shows=RemoteReceiptSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> RemoteReceipt:
        """Goods arrived for a purchase order that another system keeps. What comes out of order is parked, not misread."""
        check_kept_elsewhere(given["purchase_order_id"])  # before anything is said of its products
        report = RemoteReport(**{**given, "lines": product_quantities(given["lines"])})
        return take_remote_receipt(report, by=who(request))
