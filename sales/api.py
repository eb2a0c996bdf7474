"""`/api/sales/`"""

import uuid
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orderflow.api.lines import Input, LineInput, Reason, given_reason, product_quantities
from orderflow.api.pages import NewestFirst
from sales.models import DeliveryChoice, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.services import NewOrder, cancel_orders, change_order, deliver_orders, place_orders, try_again


class NewOrderSerializer(Input):
    id = serializers.UUIDField(default=uuid.uuid4)
    reference = serializers.CharField(max_length=100, default="", allow_blank=True)
    customer = serializers.CharField(max_length=200, default="", allow_blank=True)
    priority = serializers.IntegerField(min_value=-(2**31), max_value=2**31 - 1, default=0)
    delivery = serializers.ChoiceField(choices=DeliveryChoice.choices, default="")
    lines = LineInput(many=True, allow_empty=False)


class ChangedOrderSerializer(Reason):
    lines = LineInput(many=True, allow_empty=False, help_text="All that is wanted from now on.")
    revision = serializers.IntegerField(min_value=1, required=False, help_text="Change it only if this is still its revision.")


class OrderLineSerializer(serializers.ModelSerializer[SalesOrderLine]):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = SalesOrderLine
        fields = ["sku", "quantity"]


class OrderSerializer(serializers.ModelSerializer[SalesOrder]):
    revision = serializers.IntegerField(source="status.revision")
    status = serializers.CharField(source="status.state")
    since = serializers.DateTimeField(source="status.since")
    purchase_order_id = serializers.UUIDField(source="status.purchase_order_id", help_text="The one it waits for, or null.")
    overdue = serializers.BooleanField(source="status.overdue")
    needs_attention = serializers.BooleanField(source="status.needs_attention")
    lines = OrderLineSerializer(many=True)

    class Meta:
        model = SalesOrder
        fields = [
            "id",
            "reference",
            "customer",
            "priority",
            "delivery",
            "placed_at",
            "revision",
            "status",
            "since",
            "purchase_order_id",
            "overdue",
            "needs_attention",
            "lines",
        ]


class ChangeSerializer(serializers.ModelSerializer[OrderStatusChange]):
    class Meta:
        model = OrderStatusChange
        fields = ["from_state", "to_state", "message_id", "by", "reason", "at"]


class OrderPages(NewestFirst):
    ordering = ("-placed_at", "-pk")


class _OrdersView(generics.GenericAPIView[SalesOrder]):
    serializer_class: type[serializers.BaseSerializer[Any]] = OrderSerializer
    pagination_class = OrderPages
    queryset: QuerySet[SalesOrder] = SalesOrder.objects.select_related("status").prefetch_related("lines__product")

    def one(self, sales_order_id: UUID) -> Response:
        return Response(OrderSerializer(self.get_queryset().get(id=sales_order_id)).data)


class Orders(_OrdersView, generics.ListAPIView[SalesOrder]):
    """`?status=` and `?reference=` narrow the list."""

    def get_queryset(self) -> QuerySet[SalesOrder]:
        filters = {"status": "status__state", "reference": "reference"}
        asked = {filters[name]: value for name, value in self.request.query_params.items() if name in filters}
        return super().get_queryset().filter(**asked)

    def post(self, request: Request) -> Response:
        asked = NewOrderSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = {**asked.validated_data, "lines": product_quantities(asked.validated_data["lines"])}
        [order] = place_orders([NewOrder(**data, placed_at=timezone.now())], by=request.user.get_username())
        return Response(self.one(order.id).data, status=status.HTTP_201_CREATED)


class Order(_OrdersView, generics.RetrieveAPIView[SalesOrder]):
    pass


class History(generics.ListAPIView[OrderStatusChange]):
    serializer_class = ChangeSerializer
    queryset: QuerySet[OrderStatusChange] = OrderStatusChange.objects.all()

    def get_queryset(self) -> QuerySet[OrderStatusChange]:
        return super().get_queryset().filter(status=get_object_or_404(OrderStatus, order=self.kwargs["pk"]))


class Deliver(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        deliver_orders([pk], by=request.user.get_username(), reason=given_reason(request))
        return self.one(pk)


class Cancel(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        cancel_orders([pk], by=request.user.get_username(), reason=given_reason(request))
        return self.one(pk)


class Change(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        asked = ChangedOrderSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = {**asked.validated_data, "lines": product_quantities(asked.validated_data["lines"])}
        change_order(pk, by=request.user.get_username(), **data)
        return self.one(pk)


class TryAgain(_OrdersView):
    def post(self, request: Request, pk: UUID) -> Response:
        try_again([pk], by=request.user.get_username(), reason=given_reason(request))
        return self.one(pk)
