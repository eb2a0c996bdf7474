from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm, TolerantSelect
from orderflow.admin_tools.asking import AskingAdmin, ReasonQuestion
from orderflow.admin_tools.explaining import explanation
from orderflow.admin_tools.links import (
    ids_called,
    linked,
    list_link,
    moment,
    one_below_the_other,
    page_link,
    side_by_side,
    to_the_second,
    where_true,
)
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.catalog.admin import QuantityLines, link_products, quantities
from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from sales.models import OrderPurchase, OrderPurchaseLine, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.process_manager import State
from sales.services import NewOrder, cancel_orders, change_order, deliver_orders, place_orders, try_again

ids_called("sales_order_id", have_page="sales.salesorder")
ids_called("requester_id", have_page="sales.salesorder")  # who has Purchase order something is a sales order
link_products(lambda product_id: list_link("sales.salesorderline", "sales order lines", product=product_id))


@admin.display(description="change", ordering="to_state")
def change_of_state(self: object, change: OrderStatusChange) -> str:
    return str(change).replace("_", " ")


class SalesOrderLineInline(QuantityLines[SalesOrderLine, SalesOrder]):
    model = SalesOrderLine
    fields = ["product", "quantity"]


class OrderPurchaseInline(ReadOnlyInline[OrderPurchase, OrderStatus]):
    model = OrderPurchase
    fields = ["purchase_order", "ordered_at", "closing_message"]

    purchase_order = linked("purchase_order_id", to="purchase.purchaseorder")
    closing_message = linked("closed_by", to="messaging.storedmessage", title="closed by the message")


class OrderStatusChangeInline(ReadOnlyInline[OrderStatusChange, OrderStatus]):
    model = OrderStatusChange
    verbose_name_plural = "history"
    fields = ["when", "change", "message", "by", "reason"]

    when = to_the_second("at")
    change = change_of_state
    message = linked("message_id", to="messaging.storedmessage")


class SalesOrderForm(OnceForm[SalesOrder]):
    reference = forms.CharField(required=False, max_length=100, help_text="Made up where it is left empty.")


class CancelOrders(ReasonQuestion[SalesOrder]):
    label, done, logged = "Cancel", "Cancelled", "Cancelled"

    def carry_out(self, *, by: str) -> None:
        cancel_orders([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class TryAgain(ReasonQuestion[SalesOrder]):
    label, done, logged = "Try again", "Tried again for", "Tried again"

    def carry_out(self, *, by: str) -> None:
        try_again([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class WantedLine(forms.Form):
    """A product and how many are wanted from now on. Without a quantity it is not wanted."""

    product = forms.ModelChoiceField(
        Product.objects.all(),
        required=False,
        widget=TolerantSelect(SalesOrderLine._meta.get_field("product"), admin.site),
    )
    quantity = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_QUANTITY, widget=AdminIntegerFieldWidget)

    def clean(self) -> None:
        if self.cleaned_data.get("quantity") and "product" in self.cleaned_data and not self.cleaned_data["product"]:
            self.add_error("product", "Choose the product of which so many are wanted.")


WantedLines = forms.formset_factory(WantedLine, extra=3)


class ChangeLines(ReasonQuestion[SalesOrder]):
    """The revision that somebody looked at comes back with the answer: what was changed meanwhile is not overwritten."""

    label, done, logged = "Change the lines", "Changed the lines of", "Changed the lines"
    headings = ["Product", "Quantity (0: not wanted any more)"]
    revision = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, rows: Sequence[SalesOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self.initial["revision"] = self._order.revision
        ordered = [{"product": line.product_id, "quantity": line.quantity} for line in self._order.ordered()]
        self._lines = WantedLines(data, initial=None if data else ordered, prefix="lines")  # every line that comes back counts
        self.parts = [self._lines]

    def table(self) -> Iterable[Sequence[object]]:
        return [(form["product"], form["quantity"]) for form in self._lines.forms]

    def carry_out(self, *, by: str) -> None:
        given = [form.cleaned_data for form in self._lines.forms]
        wanted = [
            ProductQuantity(product_id=line["product"].pk, quantity=line["quantity"])
            for line in given
            if line.get("product") and line.get("quantity")
        ]
        change_order(self._order.pk, wanted, by=by, reason=self.cleaned_data["reason"], revision=self.cleaned_data["revision"])


@admin.register(SalesOrder)
class SalesOrderAdmin(AskingAdmin[SalesOrder], AddedByService[SalesOrder]):
    list_display = [
        "reference",
        "customer",
        "priority",
        "delivery",
        "state",
        "needs_attention",
        "overdue",
        "waits_for",
        "placed_at",
        "revision",
    ]
    list_filter = ["status__state", "status__needs_attention", "status__overdue", "delivery"]
    list_select_related = ["status"]
    date_hierarchy = "placed_at"
    ordering = ["-placed_at"]
    search_fields = ["reference", "customer"]
    search_ids = ["id", "status__purchases__purchase_order_id"]
    fields = [
        "reference",
        "customer",
        "priority",
        "delivery",
        "placed_at",
        "id",
        "revision",
        "state",
        "needs_attention",
        "overdue",
        "why_it_waits",
        "waits_for",
        "purchases",
        "history",
        "see_also",
    ]
    inlines = [SalesOrderLineInline]
    add_form = SalesOrderForm
    add_fields = ["new_id", "reference", "customer", "priority", "delivery"]
    add_inlines = [SalesOrderLineInline]
    actions = ["deliver", "cancel", "try_again"]
    questions = {"cancel": CancelOrders, "change_lines": ChangeLines, "try_again": TryAgain}

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> SalesOrder:
        order = NewOrder(
            id=given["new_id"],
            reference=given["reference"],
            customer=given["customer"],
            priority=given["priority"],
            delivery=given["delivery"],
            lines=quantities(lines),
        )
        return place_orders([order], by=request.user.get_username())[0]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        return {"delivery": settings.ORDERFLOW_DELIVERY, **super().get_changeform_initial_data(request)}

    @admin.action(description="Deliver", permissions=["act"])
    def deliver(self, request: HttpRequest, orders: QuerySet[SalesOrder]) -> None:
        chosen, by = list(orders), request.user.get_username()
        self.carry_out(
            request,
            chosen,
            lambda: deliver_orders([order.pk for order in chosen], by=by),
            done="Delivered",
            log="Delivered.",
        )

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, orders: QuerySet[SalesOrder]) -> HttpResponse | None:
        return self.ask_about(request, "cancel", orders)

    @admin.action(description="Try again", permissions=["act"])
    def try_again(self, request: HttpRequest, orders: QuerySet[SalesOrder]) -> HttpResponse | None:
        return self.ask_about(request, "try_again", orders)

    @admin.display(ordering="status__state")
    def state(self, order: SalesOrder) -> str:
        return order.status.get_state_display()

    needs_attention = where_true("status__needs_attention")
    overdue = where_true("status__overdue")

    waits_for = linked("status__purchase_order_id", to="purchase.purchaseorder", title="waits for")

    @admin.display(description="it waits for")
    def why_it_waits(self, order: SalesOrder) -> SafeString:
        return explanation("sales.salesorder", order.pk)

    @admin.display(description="purchase orders made for it")
    def purchases(self, order: SalesOrder) -> SafeString:
        own = order.status.purchases.order_by("ordered_at")
        links = [page_link("purchase.purchaseorder", purchase.purchase_order_id) for purchase in own]
        return one_below_the_other(links or [self.get_empty_value_display()])

    @admin.display
    def history(self, order: SalesOrder) -> SafeString:
        return one_below_the_other(_in_words(change) for change in order.status.changes.all())

    @admin.display
    def see_also(self, order: SalesOrder) -> SafeString:
        return side_by_side(
            [
                page_link("sales.orderstatus", order.pk, "process"),
                page_link("stock.reservation", order.pk, "reservation"),
                list_link("stock.stockmovement", "stock movements", document=order.pk),
                list_link("messaging.storedmessage", "messages", key=order.pk),
                list_link("messaging.delivery", "messages on their way", key=order.pk),
            ]
        )


def _in_words(change: OrderStatusChange) -> SafeString:
    message = page_link("messaging.storedmessage", change.message_id, "message") if change.message_id else ""
    why = f"– {change.reason}" if change.reason else ""
    return format_html("{} {} {} {} {}", moment(change.at), change_of_state(None, change), message, change.by, why)


@admin.register(SalesOrderLine)
class SalesOrderLineAdmin(ReadOnlyAdmin[SalesOrderLine]):
    list_display = ["id", "order_link", "product_link", "quantity"]
    list_select_related = ["order", "product"]
    search_fields = ["order__reference", "product__sku", "product__name"]
    search_ids = ["order", "product"]
    ordering = ["-id"]
    fields = ["order", "product", "quantity"]

    order_link = linked("order")
    product_link = linked("product")


@admin.register(OrderStatus)
class OrderStatusAdmin(ReadOnlyAdmin[OrderStatus]):
    list_display = ["order", "state", "since", "attention", "late", "request", "waits_for", "order_link"]
    list_filter = ["state", "needs_attention", "overdue"]
    list_select_related = ["order"]
    ordering = ["-since"]
    search_fields = ["order__reference"]
    search_ids = ["order", "purchase_order_id"]
    fields = ["order", "state", "since", "attention", "late", "request", "times_bought", "waits_for", "see_also"]
    inlines = [OrderStatusChangeInline, OrderPurchaseInline]

    order_link = linked("order", title="sales order")
    attention = where_true("needs_attention")
    late = where_true("overdue")
    waits_for = linked("purchase_order_id", to="purchase.purchaseorder", title="waits for")

    @admin.display
    def see_also(self, status: OrderStatus) -> SafeString:
        return side_by_side(
            [
                list_link("messaging.storedmessage", "messages", key=status.pk),
                list_link("messaging.delivery", "messages on their way", key=status.pk),
            ]
        )


@admin.register(OrderPurchase)
class OrderPurchaseAdmin(ReadOnlyAdmin[OrderPurchase]):
    list_display = ["purchase_order_id", "status_link", "purchase_order", "ordered_at", "closing_message"]
    list_select_related = ["status__order"]
    ordering = ["-ordered_at"]
    search_fields = ["status__order__reference"]
    search_ids = ["purchase_order_id", "status"]
    fields = ["status", "purchase_order", "ordered_at", "closing_message"]

    status_link = linked("status")
    purchase_order = linked("purchase_order_id", to="purchase.purchaseorder")
    closing_message = linked("closed_by", to="messaging.storedmessage", title="closed by the message")


@admin.register(OrderPurchaseLine)
class OrderPurchaseLineAdmin(ReadOnlyAdmin[OrderPurchaseLine]):
    list_display = ["id", "purchase_link", "product_link", "quantity"]
    list_select_related = ["purchase", "product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["purchase", "purchase__status", "product"]
    fields = ["purchase", "product", "quantity"]

    purchase_link = linked("purchase")
    product_link = linked("product")


class ToStateFilter(admin.SimpleListFilter):
    title = "to state"
    parameter_name = "to_state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[OrderStatusChange]) -> list[tuple[str, str]]:
        return [(state.value, state.value.replace("_", " ")) for state in State if state != State.NEW]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OrderStatusChange]) -> QuerySet[OrderStatusChange]:
        return queryset.filter(to_state=self.value()) if self.value() else queryset


@admin.register(OrderStatusChange)
class OrderStatusChangeAdmin(ReadOnlyAdmin[OrderStatusChange]):
    list_display = ["id", "when", "order_link", "change", "message", "by", "reason"]
    list_filter = [ToStateFilter]
    list_select_related = ["status__order"]
    ordering = ["-id"]
    search_fields = ["status__order__reference", "by", "reason"]
    search_ids = ["status"]
    fields = ["status", "when", "change", "message", "by", "reason"]

    order_link = linked("status__order", title="sales order")
    when = to_the_second("at")
    change = change_of_state
    message = linked("message_id", to="messaging.storedmessage")
