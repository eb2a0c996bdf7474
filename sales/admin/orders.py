"""The admin pages of sales orders. Services place, deliver, change and cancel them."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orderflow.admin_tools.actions import ActionAdmin
from orderflow.admin_tools.explanations import explanation
from orderflow.admin_tools.links import (
    flag_column,
    format_time,
    inline_list,
    link_column,
    list_link,
    page_link,
    register_id_link,
    stacked_list,
)
from orderflow.admin_tools.read_only import ReadOnlyAdmin
from orderflow.admin_tools.service_forms import IdempotentForm, ServiceAddAdmin
from orderflow.catalog.admin import QuantityLines, quantities, register_product_link
from orderflow.messaging.queries import types_of
from sales.admin.actions import CancelOrders, ChangeLines, DeliverOrders, RetryReservations
from sales.admin.order_status import status_change
from sales.models import OrderStatusChange, SalesOrder, SalesOrderLine
from sales.services import SalesOrderDraft, deliver_orders, place_orders

register_id_link("sales_order_id", model="sales.salesorder")
register_id_link("requester_id", model="sales.salesorder")  # only sales orders request purchases
register_product_link(
    lambda product_id: list_link("sales.salesorderline", "Sales order lines", product=product_id)
)


class SalesOrderLineInline(QuantityLines[SalesOrderLine, SalesOrder]):
    model = SalesOrderLine
    fields = ["product", "quantity"]


class SalesOrderForm(IdempotentForm[SalesOrder]):
    reference = forms.CharField(
        required=False, max_length=100, help_text="Leave empty to generate one."
    )


@admin.register(SalesOrder)
class SalesOrderAdmin(ActionAdmin[SalesOrder], ServiceAddAdmin[SalesOrder]):
    list_display = [
        "reference",
        "customer",
        "priority",
        "delivery_mode",
        "status",
        "needs_attention",
        "overdue",
        "awaited_purchase_order",
        "placed_at",
        "revision",
    ]
    list_filter = [
        "order_status__status",
        "order_status__needs_attention",
        "order_status__overdue",
        "delivery_mode",
    ]
    list_select_related = ["order_status"]
    date_hierarchy = "placed_at"
    ordering = ["-placed_at"]
    search_fields = ["reference", "customer"]
    search_ids = ["id", "order_status__linked_purchase_orders__purchase_order_id"]
    fields = [
        "reference",
        "customer",
        "priority",
        "delivery_mode",
        "placed_at",
        "id",
        "revision",
        "status",
        "needs_attention",
        "overdue",
        "blocked_by",
        "awaited_purchase_order",
        "linked_purchase_orders",
        "history",
        "related",
    ]
    inlines = [SalesOrderLineInline]
    add_form = SalesOrderForm
    add_fields = ["new_id", "reference", "customer", "priority", "delivery_mode"]
    add_inlines = [SalesOrderLineInline]
    actions = ["deliver", "cancel", "retry"]
    action_forms = {
        "deliver": DeliverOrders,
        "cancel": CancelOrders,
        "change_lines": ChangeLines,
        "retry": RetryReservations,
    }

    needs_attention = flag_column("order_status__needs_attention")
    overdue = flag_column("order_status__overdue")
    awaited_purchase_order = link_column(
        "order_status__purchase_order_id",
        model="purchase.purchaseorder",
        title="awaited purchase order",
    )

    def create(
        self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]
    ) -> SalesOrder:
        draft = SalesOrderDraft(
            id=given["new_id"],
            reference=given["reference"],
            customer=given["customer"],
            priority=given["priority"],
            delivery_mode=given["delivery_mode"],
            lines=quantities(lines),
        )
        return place_orders([draft], actor=request.user.get_username())[0]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        return {
            "delivery_mode": settings.ORDERFLOW_DELIVERY_MODE,
            **super().get_changeform_initial_data(request),
        }

    def has_deliver_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sales.deliver_salesorder")

    @admin.action(description=DeliverOrders.label, permissions=["deliver"])
    def deliver(self, request: HttpRequest, selected: QuerySet[SalesOrder]) -> None:
        orders, actor = list(selected), request.user.get_username()
        self.run_service(
            request,
            orders,
            lambda: deliver_orders([order.pk for order in orders], actor=actor),
            success_verb=DeliverOrders.success_verb,
            log_entry=f"{DeliverOrders.log_entry}.",
        )

    @admin.action(description=CancelOrders.label, permissions=["act"])
    def cancel(self, request: HttpRequest, selected: QuerySet[SalesOrder]) -> HttpResponse | None:
        return self.confirm(request, "cancel", selected)

    @admin.action(description=RetryReservations.label, permissions=["act"])
    def retry(self, request: HttpRequest, selected: QuerySet[SalesOrder]) -> HttpResponse | None:
        return self.confirm(request, "retry", selected)

    @admin.display(ordering="order_status__status")
    def status(self, order: SalesOrder) -> str:
        return order.status.label

    @admin.display(ordering="order_status__revision")
    def revision(self, order: SalesOrder) -> int:
        return order.order_status.revision

    @admin.display
    def blocked_by(self, order: SalesOrder) -> SafeString:
        return explanation("sales.salesorder", order.pk)

    @admin.display
    def linked_purchase_orders(self, order: SalesOrder) -> SafeString:
        linked = order.order_status.linked_purchase_orders.order_by("ordered_at")
        links = [page_link("purchase.purchaseorder", each.purchase_order_id) for each in linked]
        return stacked_list(links or [self.get_empty_value_display()])

    @admin.display
    def history(self, order: SalesOrder) -> SafeString:
        changes = list(order.order_status.changes.all())
        types = types_of([change.message_id for change in changes if change.message_id])
        return stacked_list(_history_line(change, types) for change in changes)

    @admin.display
    def related(self, order: SalesOrder) -> SafeString:
        return inline_list(
            [
                page_link("sales.orderstatus", order.pk, "Order status"),
                page_link("stock.reservation", order.pk, "Reservation"),
                list_link("stock.stockmovement", "Stock movements", source_document_id=order.pk),
                list_link("messaging.storedmessage", "Messages", key=order.pk),
                list_link("messaging.queuedmessage", "Queued messages", key=order.pk),
            ]
        )


def _history_line(change: OrderStatusChange, types: Mapping[int, str]) -> SafeString:
    """Return time, status change, message type, actor and reason.

    `types`: message types by message id.
    """
    message = ""
    if change.message_id:
        message_type = types.get(change.message_id, "message")
        message = page_link("messaging.storedmessage", change.message_id, message_type)
    return format_html(
        "{} {} {} {} {}",
        format_time(change.created_at),
        status_change(None, change),
        message,
        change.actor,
        f"– {change.reason}" if change.reason else "",
    )


@admin.register(SalesOrderLine)
class SalesOrderLineAdmin(ReadOnlyAdmin[SalesOrderLine]):
    list_display = ["id", "order_link", "product_link", "quantity"]
    list_select_related = ["order", "product"]
    ordering = ["-id"]
    search_fields = ["order__reference", "product__sku", "product__name"]
    search_ids = ["order", "product"]
    fields = ["order", "product", "quantity"]

    order_link = link_column("order")
    product_link = link_column("product")
