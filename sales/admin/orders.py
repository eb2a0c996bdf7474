"""Sales orders: placed, delivered, changed and cancelled, each by a service."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm
from orderflow.admin_tools.asking import AskingAdmin
from orderflow.admin_tools.explaining import explanation
from orderflow.admin_tools.links import (
    ids_called,
    linked,
    list_link,
    moment,
    one_below_the_other,
    page_link,
    side_by_side,
    where_true,
)
from orderflow.admin_tools.reading import ReadOnlyAdmin
from orderflow.catalog.admin import QuantityLines, link_products, quantities
from orderflow.messaging.queries import types_of
from sales.admin.processes import change_of_state
from sales.admin.questions import CancelOrders, ChangeLines, DeliverOrders, TryAgain
from sales.models import OrderStatusChange, SalesOrder, SalesOrderLine
from sales.services import NewOrder, deliver_orders, place_orders

ids_called("sales_order_id", have_page="sales.salesorder")
ids_called("requester_id", have_page="sales.salesorder")  # who has Purchase order something is a sales order
link_products(lambda product_id: list_link("sales.salesorderline", "sales order lines", product=product_id))


class SalesOrderLineInline(QuantityLines[SalesOrderLine, SalesOrder]):
    model = SalesOrderLine
    fields = ["product", "quantity"]


class SalesOrderForm(OnceForm[SalesOrder]):
    reference = forms.CharField(required=False, max_length=100, help_text="Made up where it is left empty.")


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
    questions = {"deliver": DeliverOrders, "cancel": CancelOrders, "change_lines": ChangeLines, "try_again": TryAgain}

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

    def has_deliver_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sales.deliver_salesorder")

    @admin.action(description="Deliver", permissions=["deliver"])
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

    @admin.display(ordering="status__revision")
    def revision(self, order: SalesOrder) -> int:
        return order.status.revision

    needs_attention = where_true("status__needs_attention")
    overdue = where_true("status__overdue")

    waits_for = linked("status__purchase_order_id", to="purchase.purchaseorder", title="purchase order it waits for")

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
        changes = list(order.status.changes.all())
        types = types_of([change.message_id for change in changes if change.message_id])
        return one_below_the_other(_in_words(change, types) for change in changes)

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


def _in_words(change: OrderStatusChange, types: Mapping[int, str]) -> SafeString:
    message = ""
    if change.message_id:
        message = page_link("messaging.storedmessage", change.message_id, types.get(change.message_id, "message"))
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
