"""`/api/purchase/`"""

import uuid
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orderflow.api.lines import Input, LineInput, Reason, given_reason, product_quantities
from orderflow.api.pages import NewestFirst
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderChange, PurchaseOrderLine, Receipt, ReceiptLine
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    expect_goods,
    receive_goods,
)


class NewPurchaseOrderSerializer(Input):
    id = serializers.UUIDField(default=uuid.uuid4)
    reference = serializers.CharField(max_length=100, default="", allow_blank=True)
    expected_at = serializers.DateTimeField(required=False, help_text="None: after the usual lead time.")
    lines = LineInput(many=True, allow_empty=False)


class ExpectedSerializer(Reason):
    expected_at = serializers.DateTimeField()


class ArrivalSerializer(Reason):
    id = serializers.UUIDField(default=uuid.uuid4, help_text="The receipt's id: the same one counts once.")
    lines = LineInput(many=True, allow_empty=False, required=False, help_text="None: everything that is still to come.")


class PurchaseOrderLineSerializer(serializers.ModelSerializer[PurchaseOrderLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = PurchaseOrderLine
        fields = ["sku", "quantity", "received"]


class PurchaseOrderSerializer(serializers.ModelSerializer[PurchaseOrder]):
    lines = PurchaseOrderLineSerializer(many=True)

    class Meta:
        model = PurchaseOrder
        fields = ["id", "reference", "status", "ordered_at", "expected_at", "overdue", "lines"]


class PurchaseOrderPages(NewestFirst):
    ordering = ("-ordered_at", "-pk")


class _OrdersView(generics.GenericAPIView[PurchaseOrder]):
    serializer_class = PurchaseOrderSerializer
    pagination_class = PurchaseOrderPages
    queryset: QuerySet[PurchaseOrder] = PurchaseOrder.objects.prefetch_related("lines__product")

    def one(self, purchase_order_id: UUID) -> Response:
        return Response(PurchaseOrderSerializer(self.get_queryset().get(id=purchase_order_id)).data)


class Orders(_OrdersView, generics.ListAPIView[PurchaseOrder]):
    """`?status=` and `?reference=` narrow the list."""

    def get_queryset(self) -> QuerySet[PurchaseOrder]:
        asked = {name: value for name, value in self.request.query_params.items() if name in ("status", "reference")}
        return super().get_queryset().filter(**asked)

    def post(self, request: Request) -> Response:
        asked = NewPurchaseOrderSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        lines = [PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in product_quantities(data["lines"])]
        [order] = create_purchase_orders([NewPurchaseOrder(**{**data, "lines": lines})], by=request.user.get_username())
        return Response(self.one(order.id).data, status=status.HTTP_201_CREATED)


class Order(_OrdersView, generics.RetrieveAPIView[PurchaseOrder]):
    pass


class Receive(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        asked = ArrivalSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        lines = product_quantities(data["lines"]) if "lines" in data else None
        receive_goods(
            [Arrival(purchase_order_id=pk, id=data["id"], lines=lines)], by=request.user.get_username(), reason=data["reason"]
        )
        return self.one(pk)


class ReceiptLineSerializer(serializers.ModelSerializer[ReceiptLine]):
    sku = serializers.CharField(source="line.product.sku")

    class Meta:
        model = ReceiptLine
        fields = ["sku", "quantity", "reversed"]


class ReceiptSerializer(serializers.ModelSerializer[Receipt]):
    lines = ReceiptLineSerializer(many=True)

    class Meta:
        model = Receipt
        fields = ["id", "at", "by", "reason", "lines"]


class ChangeSerializer(serializers.ModelSerializer[PurchaseOrderChange]):
    class Meta:
        model = PurchaseOrderChange
        fields = ["from_status", "to_status", "what", "message_id", "by", "reason", "at"]


class Receipts(generics.ListAPIView[Receipt]):
    """What arrived for it, and when: the ids that reversals want to know."""

    serializer_class = ReceiptSerializer
    queryset: QuerySet[Receipt] = Receipt.objects.prefetch_related("lines__line__product").order_by("at")

    def get_queryset(self) -> QuerySet[Receipt]:
        return super().get_queryset().filter(order=get_object_or_404(PurchaseOrder, id=self.kwargs["pk"]))


class History(generics.ListAPIView[PurchaseOrderChange]):
    """What was decided about it."""

    serializer_class = ChangeSerializer
    queryset: QuerySet[PurchaseOrderChange] = PurchaseOrderChange.objects.all()

    def get_queryset(self) -> QuerySet[PurchaseOrderChange]:
        return super().get_queryset().filter(order=get_object_or_404(PurchaseOrder, id=self.kwargs["pk"]))


class Cancel(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        cancel_purchase_orders([pk], by=request.user.get_username(), reason=given_reason(request))
        return self.one(pk)


class CloseShort(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        close_short([pk], by=request.user.get_username(), reason=given_reason(request))
        return self.one(pk)


class Expect(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        asked = ExpectedSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        expect_goods(pk, by=request.user.get_username(), **asked.validated_data)
        return self.one(pk)
