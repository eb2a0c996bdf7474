"""The REST endpoints under `/api/v1/sales/`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from orderflow.api.decorators import accepts, actor_of
from orderflow.api.examples import example
from orderflow.api.fields import ClientIdField, StrictCharField, StrictIntegerField
from orderflow.api.filters import BeforeFilter, BooleanFilter, ExactFilter, SinceFilter
from orderflow.api.inputs import Decision, LineListField, StrictSerializer
from orderflow.api.problems import problem_body
from orderflow.api.reserved_quantities import reserved_for
from orderflow.catalog.services import UnknownSku, product_ids, product_quantities
from orderflow.core.errors import DomainError
from sales.models import DeliveryMode, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.queries import STATUS_CHOICES
from sales.services import (
    SalesOrderDraft,
    cancel_orders,
    change_order,
    deliver_orders,
    place_orders,
    place_orders_individually,
    retry_reservations,
)

MAX_ORDERS = 1000  # in one request

# -- request bodies ------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        example(
            "An order",
            {
                "reference": "WEB-1001",
                "customer": "Ada",
                "lines": [{"sku": "CHAIR", "quantity": 2}],
            },
        )
    ]
)
class SalesOrderCreate(StrictSerializer):
    """A sales order to place."""

    id = ClientIdField()
    reference = StrictCharField(
        max_length=100,
        default="",
        allow_blank=True,
        help_text="Your reference; generated if omitted.",
    )
    customer = StrictCharField(max_length=200, default="", allow_blank=True)
    priority = StrictIntegerField(
        min_value=-(2**31),
        max_value=2**31 - 1,
        default=0,
        help_text="Higher values are allocated first.",
    )
    delivery_mode = serializers.ChoiceField(
        choices=DeliveryMode.choices,
        required=False,
        help_text="Default: ORDERFLOW_DELIVERY_MODE.",
    )
    lines = LineListField()


@extend_schema_serializer(
    examples=[
        example(
            "Two orders",
            {
                "orders": [
                    {"lines": [{"sku": "CHAIR", "quantity": 1}]},
                    {"lines": [{"sku": "DESK", "quantity": 1}]},
                ]
            },
        )
    ]
)
class SalesOrderBulkCreate(StrictSerializer):
    """Sales orders to place individually."""

    @extend_schema_field(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ORDERS,
            "items": {"anyOf": [{"$ref": "#/components/schemas/SalesOrderCreate"}, {}]},
            "description": "Each is placed or rejected on its own.",
        }
    )
    class Orders(serializers.ListField):
        pass

    orders = Orders(allow_empty=False, max_length=MAX_ORDERS)


@extend_schema_serializer(
    examples=[
        example(
            "Three instead",
            {"lines": [{"sku": "CHAIR", "quantity": 3}], "reason": "one more guest"},
        )
    ]
)
class SalesOrderChange(Decision):
    """The new lines of a sales order."""

    lines = LineListField(help_text="Replaces all lines.")
    revision = StrictIntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        help_text="If it is not the current revision and the lines differ, the change is rejected "
        "with 409.",
    )


# -- responses -----------------------------------------------------------------------------------


class SalesOrderLineSerializer(serializers.ModelSerializer[SalesOrderLine]):
    sku = serializers.CharField(source="product.sku")
    reserved = serializers.IntegerField(help_text="Reserved quantity; unchanged after shipping.")

    class Meta:
        model = SalesOrderLine
        fields = ["sku", "quantity", "reserved"]


class SalesOrderSerializer(serializers.ModelSerializer[SalesOrder]):
    status = serializers.ChoiceField(choices=STATUS_CHOICES, source="order_status.status")
    status_changed_at = serializers.DateTimeField(
        source="order_status.status_changed_at", help_text="When the order entered its status."
    )
    updated_at = serializers.DateTimeField(source="order_status.updated_at")
    revision = serializers.IntegerField(
        source="order_status.revision", help_text="Version of the lines; starts at 1."
    )
    request_number = serializers.IntegerField(
        source="order_status.request_number",
        help_text="Number of the latest reservation request.",
    )
    purchase_count = serializers.IntegerField(
        source="order_status.purchase_count",
        help_text="Purchase orders created since the last user decision.",
    )
    purchase_order_id = serializers.UUIDField(
        source="order_status.purchase_order_id",
        allow_null=True,
        help_text="The awaited purchase order, or null.",
    )
    overdue = serializers.BooleanField(source="order_status.overdue")
    needs_attention = serializers.BooleanField(
        source="order_status.needs_attention",
        help_text="A user must retry, change or cancel the order; see its explanation.",
    )
    lines = SalesOrderLineSerializer(many=True)

    class Meta:
        model = SalesOrder
        fields = [
            "id",
            "reference",
            "customer",
            "priority",
            "delivery_mode",
            "placed_at",
            "updated_at",
            "revision",
            "status",
            "status_changed_at",
            "request_number",
            "purchase_count",
            "purchase_order_id",
            "overdue",
            "needs_attention",
            "lines",
        ]


class SalesOrderBulkResultSerializer(serializers.Serializer[Any]):
    """The result for one order of a bulk request."""

    placed = serializers.BooleanField()
    sales_order = SalesOrderSerializer(allow_null=True)
    problem = serializers.DictField(
        allow_null=True,
        help_text="The problem that a single request would return. Its pointers refer to the body "
        "of the bulk request.",
    )


class SalesOrderBulkResponseSerializer(serializers.Serializer[Any]):
    results = SalesOrderBulkResultSerializer(many=True, help_text="In the order of the request.")


class SalesOrderHistoryEntrySerializer(serializers.ModelSerializer[OrderStatusChange]):
    class Meta:
        model = OrderStatusChange
        fields = ["from_status", "to_status", "message_id", "actor", "reason", "created_at"]


# -- endpoints -----------------------------------------------------------------------------------


class SalesOrderFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(
        field_name="order_status__status",
        choices=STATUS_CHOICES,
        help_text="May be repeated: any of these statuses.",
    )
    reference = ExactFilter("reference")
    customer = ExactFilter("customer")
    sku = ExactFilter("lines__product__sku")
    overdue = BooleanFilter(field_name="order_status__overdue")
    needs_attention = BooleanFilter(field_name="order_status__needs_attention")
    placed_since, placed_before = SinceFilter("placed_at"), BeforeFilter("placed_at")
    updated_since = SinceFilter("order_status__updated_at")
    updated_before = BeforeFilter("order_status__updated_at")


class _SalesOrderView(generics.GenericAPIView[SalesOrder]):
    required_permissions: Mapping[str, str] = {
        "GET": "sales.view_salesorder",
        "POST": "sales.change_salesorder",
    }
    serializer_class = SalesOrderSerializer
    queryset: QuerySet[SalesOrder] = SalesOrder.objects.select_related(
        "order_status"
    ).prefetch_related("lines__product")

    def get_object(self) -> SalesOrder:
        return _with_reserved([super().get_object()])[0]

    def paginate_queryset(self, queryset: Any) -> Any:
        return _with_reserved(super().paginate_queryset(queryset) or ())

    def read(self, *sales_order_ids: UUID) -> list[SalesOrder]:
        """Return the sales orders as they are now."""
        return _with_reserved(self.get_queryset().filter(id__in=sales_order_ids))


class SalesOrderList(_SalesOrderView, generics.ListAPIView[SalesOrder]):
    """List the sales orders, newest first."""

    required_permissions = {"GET": "sales.view_salesorder", "POST": "sales.add_salesorder"}
    filterset_class = SalesOrderFilter
    orderings = {
        "placed_at": "placed_at",
        "updated_at": "order_status__updated_at",
        "reference": "reference",
        "priority": "priority",
    }
    ordering = "-placed_at"

    @accepts(SalesOrderCreate, shows=SalesOrderSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> SalesOrder:
        """Place a sales order. With a client-supplied id, repeating the request is safe."""
        lines = product_quantities(given["lines"])
        draft = SalesOrderDraft(**{**given, "lines": lines}, placed_at=timezone.now())
        [order] = place_orders([draft], actor=actor_of(request))
        return self.read(order.id)[0]


class SalesOrderBulkCreateView(_SalesOrderView):
    required_permissions = {"POST": "sales.add_salesorder"}

    @accepts(
        SalesOrderBulkCreate,
        shows=SalesOrderBulkResponseSerializer,
        operation_id="sales_orders_create_bulk",
    )
    def post(self, request: Request, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Place up to 1,000 sales orders in this order; each is placed or rejected on its own."""
        drafts = _drafts(given["orders"])
        valid = [each for each in drafts if isinstance(each, SalesOrderDraft)]
        placed = iter(place_orders_individually(valid, actor=actor_of(request)))
        outcomes = [next(placed) if isinstance(each, SalesOrderDraft) else each for each in drafts]
        ids = [each.id for each in outcomes if isinstance(each, SalesOrder)]
        orders = {row.id: row for row in self.read(*ids)}
        results = [_result(index, each, orders) for index, each in enumerate(outcomes)]
        return {"results": results}


class SalesOrderDetail(_SalesOrderView, generics.RetrieveAPIView[SalesOrder]):
    """Return one sales order."""


class SalesOrderHistory(generics.ListAPIView[OrderStatusChange]):
    """List the status changes of a sales order, with actor, reason and causing message."""

    required_permissions = {"GET": "sales.view_salesorder"}
    serializer_class = SalesOrderHistoryEntrySerializer
    queryset: QuerySet[OrderStatusChange] = OrderStatusChange.objects.all()
    orderings = {"created_at": "id"}
    ordering = "created_at"

    def get_queryset(self) -> QuerySet[OrderStatusChange]:
        order_status = get_object_or_404(OrderStatus, order=self.kwargs["pk"])
        return super().get_queryset().filter(order_status=order_status)


class DeliverSalesOrder(_SalesOrderView):
    required_permissions = {"POST": "sales.deliver_salesorder"}

    @accepts(Decision, shows=SalesOrderSerializer, operation_id="sales_orders_deliver")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Deliver a sales order. Repeating has no further effect; 409 if it is not deliverable."""
        deliver_orders([pk], actor=actor_of(request), **given)
        return self.read(pk)[0]


class CancelSalesOrder(_SalesOrderView):
    @accepts(Decision, shows=SalesOrderSerializer, operation_id="sales_orders_cancel")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Cancel a sales order. Repeating has no further effect; 409 if it is delivered."""
        cancel_orders([pk], actor=actor_of(request), **given)
        return self.read(pk)[0]


class ChangeSalesOrder(_SalesOrderView):
    @accepts(SalesOrderChange, shows=SalesOrderSerializer, operation_id="sales_orders_change")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Replace all lines of a sales order; 409 if it is closed."""
        lines = product_quantities(given["lines"])
        change_order(pk, actor=actor_of(request), **{**given, "lines": lines})
        return self.read(pk)[0]


class RetrySalesOrder(_SalesOrderView):
    @accepts(Decision, shows=SalesOrderSerializer, operation_id="sales_orders_retry")
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Request the reservation again, and restart the purchase count at 0.

        409 if the order is not awaiting stock reservation.
        """
        retry_reservations([pk], actor=actor_of(request), **given)
        return self.read(pk)[0]


def _with_reserved(orders: Iterable[SalesOrder]) -> list[SalesOrder]:
    """Set the reserved quantity of each line, for the serializer."""
    rows = list(orders)
    reserved = reserved_for([row.id for row in rows]) if rows else {}
    for row in rows:
        for line in row.lines.all():
            line.__dict__["reserved"] = reserved.get((row.id, line.product_id), 0)
    return rows


def _drafts(orders: Sequence[Any]) -> list[SalesOrderDraft | ValidationError | DomainError]:
    now = timezone.now()
    validated = [_validate(order) for order in orders]
    lines = [line for each in validated if isinstance(each, dict) for line in each["lines"]]
    ids = product_ids((line["sku"] for line in lines), unknown_ok=True)
    return [_draft(each, ids, now) if isinstance(each, dict) else each for each in validated]


def _validate(order: Any) -> dict[str, Any] | ValidationError:
    serializer = SalesOrderCreate(data=order)
    try:
        serializer.is_valid(raise_exception=True)
    except ValidationError as error:
        return error
    return dict(serializer.validated_data)


def _draft(
    given: Mapping[str, Any], ids: Mapping[str, UUID], now: datetime
) -> SalesOrderDraft | DomainError:
    try:
        lines = product_quantities(given["lines"], ids)
    except UnknownSku as error:
        return error
    return SalesOrderDraft(**{**given, "lines": lines}, placed_at=now)


def _result(index: int, outcome: Any, orders: Mapping[UUID, SalesOrder]) -> dict[str, Any]:
    if isinstance(outcome, SalesOrder):
        return {"placed": True, "sales_order": orders[outcome.id], "problem": None}
    problem = problem_body(outcome, pointer=f"#/orders/{index}")
    return {"placed": False, "sales_order": None, "problem": problem}
