"""`/api/sales/`"""

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

from orderflow.api.examples import example
from orderflow.api.fields import Id, Text, Whole
from orderflow.api.filters import Before, Flag, Since, Word
from orderflow.api.lines import Input, LinesInput, ReasonInput, product_quantities
from orderflow.api.posting import accepts, who
from orderflow.api.problems import described
from orderflow.api.reserved import reserved_for
from orderflow.catalog.services import UnknownProducts, product_ids
from orderflow.refusals import Refused
from sales.models import DeliveryChoice, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.process_manager import State
from sales.services import NewOrder, cancel_orders, change_order, deliver_orders, place_each, place_orders, try_again

MOST_AT_ONCE = 1000  # orders in one request

_STATES = [(state.value, state.value) for state in State if state != State.NEW]

# -- what comes in ----------------------------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[example("An order", {"reference": "WEB-1001", "customer": "Ada", "lines": [{"sku": "CHAIR", "quantity": 2}]})]
)
class NewSalesOrder(Input):
    id = Id()
    reference = Text(
        max_length=100, default="", allow_blank=True, help_text="Your own name for it; made up where it is not given."
    )
    customer = Text(max_length=200, default="", allow_blank=True)
    priority = Whole(min_value=-(2**31), max_value=2**31 - 1, default=0, help_text="Higher is served first when goods arrive.")
    delivery = serializers.ChoiceField(
        choices=DeliveryChoice.choices,
        required=False,
        help_text="At once, or when a person says so; a setting says which of them.",
    )
    lines = LinesInput()


@extend_schema_serializer(
    examples=[
        example(
            "Two orders", {"orders": [{"lines": [{"sku": "CHAIR", "quantity": 1}]}, {"lines": [{"sku": "DESK", "quantity": 1}]}]}
        )
    ]
)
class ManySalesOrders(Input):
    @extend_schema_field(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_AT_ONCE,
            "items": {"anyOf": [{"$ref": "#/components/schemas/NewSalesOrder"}, {}]},
            "description": "Each as for a single one. What one of them should not be refuses only that one.",
        }
    )
    class Orders(serializers.ListField):
        pass

    orders = Orders(allow_empty=False, max_length=MOST_AT_ONCE)


@extend_schema_serializer(
    examples=[example("Three instead", {"lines": [{"sku": "CHAIR", "quantity": 3}], "reason": "one more guest"})]
)
class ChangedSalesOrder(ReasonInput):
    lines = LinesInput(help_text="All that is wanted from now on.")
    revision = Whole(
        min_value=1, max_value=2**31 - 1, required=False, help_text="The one that you looked at: if it is another by now, 409."
    )


# -- what goes out ----------------------------------------------------------------------------------------------------------


class SalesOrderLineSerializer(serializers.ModelSerializer[SalesOrderLine]):
    sku = serializers.CharField(source="product.sku")
    reserved = serializers.IntegerField(help_text="How much of it Stock holds for this order, or held until it was shipped.")

    class Meta:
        model = SalesOrderLine
        fields = ["sku", "quantity", "reserved"]


class SalesOrderSerializer(serializers.ModelSerializer[SalesOrder]):
    status = serializers.ChoiceField(choices=_STATES, source="status.state")
    since = serializers.DateTimeField(source="status.since", help_text="When it entered this status.")
    updated_at = serializers.DateTimeField(source="status.updated_at")
    revision = serializers.IntegerField(source="status.revision", help_text="1, and one more with each change.")
    attempts = serializers.IntegerField(source="status.request", help_text="How often Stock was asked for it.")
    times_bought = serializers.IntegerField(source="status.times_bought", help_text="Since a person last had a say.")
    purchase_order_id = serializers.UUIDField(
        source="status.purchase_order_id", allow_null=True, help_text="The purchase order it waits for, or null."
    )
    overdue = serializers.BooleanField(source="status.overdue")
    needs_attention = serializers.BooleanField(source="status.needs_attention", help_text="A person has to decide: see why/.")
    lines = SalesOrderLineSerializer(many=True)

    class Meta:
        model = SalesOrder
        fields = [
            "id",
            "reference",
            "customer",
            "priority",
            "delivery",
            "placed_at",
            "updated_at",
            "revision",
            "status",
            "since",
            "attempts",
            "times_bought",
            "purchase_order_id",
            "overdue",
            "needs_attention",
            "lines",
        ]


class OutcomeSerializer(serializers.Serializer[Any]):
    """Of one order among many: itself where it was accepted, and what was wrong where it was not."""

    accepted = serializers.BooleanField()
    order = SalesOrderSerializer(allow_null=True)
    problem = serializers.DictField(
        allow_null=True, help_text="As if it had been posted alone; pointers lead into the whole body."
    )


class OutcomesSerializer(serializers.Serializer[Any]):
    results = OutcomeSerializer(many=True, help_text="In the order in which they came.")


class SalesOrderChangeSerializer(serializers.ModelSerializer[OrderStatusChange]):
    class Meta:
        model = OrderStatusChange
        fields = ["from_state", "to_state", "message_id", "by", "reason", "at"]


# -- addresses --------------------------------------------------------------------------------------------------------------


class SalesOrderFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(field_name="status__state", choices=_STATES, help_text="Several: any of them.")
    reference = Word("reference")
    customer = Word("customer")
    sku = Word("lines__product__sku")
    overdue = Flag(field_name="status__overdue")
    needs_attention = Flag(field_name="status__needs_attention")
    created_since, created_before = Since("placed_at"), Before("placed_at")
    updated_since, updated_before = Since("status__updated_at"), Before("status__updated_at")


class _SalesOrders(generics.GenericAPIView[SalesOrder]):
    needs: Mapping[str, str] = {"GET": "sales.view_salesorder", "POST": "sales.change_salesorder"}
    serializer_class = SalesOrderSerializer
    queryset: QuerySet[SalesOrder] = SalesOrder.objects.select_related("status").prefetch_related("lines__product")

    def get_object(self) -> SalesOrder:
        return _with_reserved([super().get_object()])[0]

    def paginate_queryset(self, queryset: Any) -> Any:
        return _with_reserved(super().paginate_queryset(queryset) or ())

    def shown(self, *sales_order_ids: UUID) -> list[SalesOrder]:
        """As they are now."""
        return _with_reserved(self.get_queryset().filter(id__in=sales_order_ids))


class SalesOrders(_SalesOrders, generics.ListAPIView[SalesOrder]):
    """Sales orders, the newest first."""

    needs = {"GET": "sales.view_salesorder", "POST": "sales.add_salesorder"}
    filterset_class = SalesOrderFilter
    orderings = {"placed_at": "placed_at", "updated_at": "status__updated_at", "reference": "reference", "priority": "priority"}
    ordering = "-placed_at"

    @accepts(NewSalesOrder, shows=SalesOrderSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> SalesOrder:
        """Place a sales order. Under an id that you supply, the same again is the same order, as it is now."""
        lines = product_quantities(given["lines"])
        [order] = place_orders([NewOrder(**{**given, "lines": lines}, placed_at=timezone.now())], by=who(request))
        return self.shown(order.id)[0]


class SalesOrdersInBulk(_SalesOrders):
    needs = {"POST": "sales.add_salesorder"}

    @accepts(ManySalesOrders, shows=OutcomesSerializer)
    def post(self, request: Request, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Place up to 1,000 sales orders, in this order; each is accepted or refused on its own."""
        wanted = _wanted(given["orders"])
        placed = iter(place_each([each for each in wanted if isinstance(each, NewOrder)], by=who(request)))
        outcomes = [next(placed) if isinstance(each, NewOrder) else each for each in wanted]
        accepted = {row.id: row for row in self.shown(*(each.id for each in outcomes if isinstance(each, SalesOrder)))}
        return {"results": [_outcome(number, each, accepted) for number, each in enumerate(outcomes)]}


class OneSalesOrder(_SalesOrders, generics.RetrieveAPIView[SalesOrder]):
    """A sales order, and how far its process is."""


class SalesOrderHistory(generics.ListAPIView[OrderStatusChange]):
    """Each change of its state: when, who, why, and the message that caused it."""

    needs = {"GET": "sales.view_salesorder"}
    serializer_class = SalesOrderChangeSerializer
    queryset: QuerySet[OrderStatusChange] = OrderStatusChange.objects.all()
    orderings = {"at": "id"}
    ordering = "at"

    def get_queryset(self) -> QuerySet[OrderStatusChange]:
        return super().get_queryset().filter(status=get_object_or_404(OrderStatus, order=self.kwargs["pk"]))


class DeliverSalesOrder(_SalesOrders):
    needs = {"POST": "sales.deliver_salesorder"}

    @accepts(ReasonInput, shows=SalesOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Deliver it. Again changes nothing; 409 where it cannot be delivered, and why."""
        deliver_orders([pk], by=who(request), **given)
        return self.shown(pk)[0]


class CancelSalesOrder(_SalesOrders):
    @accepts(ReasonInput, shows=SalesOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Cancel it. Again changes nothing; 409 where it was delivered."""
        cancel_orders([pk], by=who(request), **given)
        return self.shown(pk)[0]


class ChangeSalesOrder(_SalesOrders):
    @accepts(ChangedSalesOrder, shows=SalesOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Want something else: the lines are all that is wanted from now on."""
        change_order(pk, by=who(request), **{**given, "lines": product_quantities(given["lines"])})
        return self.shown(pk)[0]


class TrySalesOrderAgain(_SalesOrders):
    @accepts(ReasonInput, shows=SalesOrderSerializer)
    def post(self, request: Request, given: Mapping[str, Any], pk: UUID) -> SalesOrder:
        """Ask Stock again, and buy again what is missing."""
        try_again([pk], by=who(request), **given)
        return self.shown(pk)[0]


def _with_reserved(orders: Iterable[SalesOrder]) -> list[SalesOrder]:
    """Each line with what is reserved of it, for the serializer."""
    rows = list(orders)
    held = reserved_for([row.id for row in rows]) if rows else {}
    for row in rows:
        for line in row.lines.all():
            line.__dict__["reserved"] = held.get((row.id, line.product_id), 0)
    return rows


def _wanted(orders: Sequence[Any]) -> list[NewOrder | ValidationError | Refused]:
    now = timezone.now()
    checked = [_checked(order) for order in orders]
    lines = [line for each in checked if isinstance(each, dict) for line in each["lines"]]
    known = product_ids((line["sku"] for line in lines), unknown_ok=True)
    return [_new_order(each, known, now) if isinstance(each, dict) else each for each in checked]


def _checked(order: Any) -> dict[str, Any] | ValidationError:
    asked = NewSalesOrder(data=order)
    try:
        asked.is_valid(raise_exception=True)
    except ValidationError as error:
        return error
    return dict(asked.validated_data)


def _new_order(given: Mapping[str, Any], known: Mapping[str, UUID], now: datetime) -> NewOrder | Refused:
    try:
        return NewOrder(**{**given, "lines": product_quantities(given["lines"], known)}, placed_at=now)
    except UnknownProducts as refusal:
        return refusal


def _outcome(number: int, outcome: Any, accepted: Mapping[UUID, SalesOrder]) -> dict[str, Any]:
    if isinstance(outcome, SalesOrder):
        return {"accepted": True, "order": accepted[outcome.id], "problem": None}
    return {"accepted": False, "order": None, "problem": described(outcome, path=f"#/orders/{number}")}
