"""The processes of sales orders, their history and their linked purchase orders."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.links import (
    flag_column,
    inline_list,
    link_column,
    list_link,
    time_column,
)
from orderflow.admin_tools.read_only import ReadOnlyAdmin, ReadOnlyInline
from sales.models import (
    LinkedPurchaseOrder,
    LinkedPurchaseOrderLine,
    OrderStatus,
    OrderStatusChange,
)
from sales.process_manager import STORED_STATUSES, Status


@admin.display(description="status change", ordering="to_status")
def status_change(self: object, change: OrderStatusChange) -> str:
    return f"{Status(change.from_status).label} → {Status(change.to_status).label}"


class LinkedPurchaseOrderInline(ReadOnlyInline[LinkedPurchaseOrder, OrderStatus]):
    model = LinkedPurchaseOrder
    fields = ["purchase_order", "ordered_at", "closing_message"]

    purchase_order = link_column("purchase_order_id", model="purchase.purchaseorder")
    closing_message = link_column("closed_by_message_id", model="messaging.storedmessage")


class OrderStatusChangeInline(ReadOnlyInline[OrderStatusChange, OrderStatus]):
    model = OrderStatusChange
    verbose_name_plural = "history"
    fields = ["created", "change", "message", "actor", "reason"]

    created = time_column("created_at")
    change = status_change
    message = link_column("message_id", model="messaging.storedmessage")


@admin.register(OrderStatus)
class OrderStatusAdmin(ReadOnlyAdmin[OrderStatus]):
    list_display = [
        "order",
        "status",
        "status_changed_at",
        "attention_flag",
        "overdue_flag",
        "request_number",
        "awaited_purchase_order",
        "order_link",
    ]
    list_filter = ["status", "needs_attention", "overdue"]
    list_select_related = ["order"]
    ordering = ["-status_changed_at"]
    search_fields = ["order__reference"]
    search_ids = ["order", "purchase_order_id"]
    fields = [
        "order",
        "status",
        "status_changed_at",
        "attention_flag",
        "overdue_flag",
        "revision",
        "request_number",
        "purchase_count",
        "awaited_purchase_order",
        "related",
    ]
    inlines = [OrderStatusChangeInline, LinkedPurchaseOrderInline]

    order_link = link_column("order", title="sales order")
    attention_flag = flag_column("needs_attention")
    overdue_flag = flag_column("overdue")
    awaited_purchase_order = link_column(
        "purchase_order_id", model="purchase.purchaseorder", title="awaited purchase order"
    )

    @admin.display
    def related(self, status: OrderStatus) -> SafeString:
        return inline_list(
            [
                list_link("messaging.storedmessage", "Messages", key=status.pk),
                list_link("messaging.queuedmessage", "Queued messages", key=status.pk),
            ]
        )


@admin.register(LinkedPurchaseOrder)
class LinkedPurchaseOrderAdmin(ReadOnlyAdmin[LinkedPurchaseOrder]):
    list_display = [
        "purchase_order_id",
        "status_link",
        "purchase_order",
        "ordered_at",
        "closing_message",
    ]
    list_select_related = ["order_status__order"]
    ordering = ["-ordered_at"]
    search_fields = ["order_status__order__reference"]
    search_ids = ["purchase_order_id", "order_status"]
    fields = ["order_status", "purchase_order", "ordered_at", "closing_message"]

    status_link = link_column("order_status")
    purchase_order = link_column("purchase_order_id", model="purchase.purchaseorder")
    closing_message = link_column("closed_by_message_id", model="messaging.storedmessage")


@admin.register(LinkedPurchaseOrderLine)
class LinkedPurchaseOrderLineAdmin(ReadOnlyAdmin[LinkedPurchaseOrderLine]):
    list_display = ["id", "linked_order_link", "product_link", "quantity"]
    list_select_related = ["linked_purchase_order", "product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["linked_purchase_order", "linked_purchase_order__order_status", "product"]
    fields = ["linked_purchase_order", "product", "quantity"]

    linked_order_link = link_column("linked_purchase_order")
    product_link = link_column("product")


class ToStatusFilter(admin.SimpleListFilter):
    title = "to status"
    parameter_name = "to_status"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[OrderStatusChange]
    ) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in STORED_STATUSES]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[OrderStatusChange]
    ) -> QuerySet[OrderStatusChange]:
        return queryset.filter(to_status=self.value()) if self.value() else queryset


@admin.register(OrderStatusChange)
class OrderStatusChangeAdmin(ReadOnlyAdmin[OrderStatusChange]):
    list_display = ["id", "created", "order_link", "change", "message", "actor", "reason"]
    list_filter = [ToStatusFilter]
    list_select_related = ["order_status__order"]
    ordering = ["-id"]
    search_fields = ["order_status__order__reference", "actor", "reason"]
    search_ids = ["order_status"]
    fields = ["order_status", "created", "change", "message", "actor", "reason"]

    order_link = link_column("order_status__order", title="sales order")
    created = time_column("created_at")
    change = status_change
    message = link_column("message_id", model="messaging.storedmessage")
