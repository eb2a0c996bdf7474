"""How far sales orders are: looked at, and never changed by hand."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.links import linked, list_link, side_by_side, to_the_second, where_true
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from sales.models import OrderPurchase, OrderPurchaseLine, OrderStatus, OrderStatusChange
from sales.process_manager import State


@admin.display(description="change", ordering="to_state")
def change_of_state(self: object, change: OrderStatusChange) -> str:
    return str(change).replace("_", " ")


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


@admin.register(OrderStatus)
class OrderStatusAdmin(ReadOnlyAdmin[OrderStatus]):
    list_display = ["order", "state", "since", "attention", "late", "request", "waits_for", "order_link"]
    list_filter = ["state", "needs_attention", "overdue"]
    list_select_related = ["order"]
    ordering = ["-since"]
    search_fields = ["order__reference"]
    search_ids = ["order", "purchase_order_id"]
    fields = ["order", "state", "since", "attention", "late", "revision", "request", "times_bought", "waits_for", "see_also"]
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
