"""Purchase orders, their lines, and what was decided about them."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm
from orderflow.admin_tools.asking import AskingAdmin
from orderflow.admin_tools.links import ids_called, linked, list_link, side_by_side, to_the_second, where_true
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.catalog.admin import QuantityLines, link_products
from purchase.admin.questions import CancelPurchaseOrders, CloseShort, Day, ExpectGoods, ReceiveAll, ReceivePart
from purchase.contract import PeggedQuantity
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderChange,
    PurchaseOrderLine,
    Receipt,
)
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    create_purchase_orders,
    receive_goods,
)

ids_called("purchase_order_id", have_page="purchase.purchaseorder")
ids_called("receipt_id", have_page="purchase.receipt")
ids_called("bought_for", have_page="stock.reservation")
link_products(lambda product_id: list_link("purchase.purchaseorderline", "purchase order lines", product=product_id))


class PurchaseOrderLineInline(QuantityLines[PurchaseOrderLine, PurchaseOrder]):
    model = PurchaseOrderLine
    fields = ["product", "quantity", "received", "peg"]

    peg = linked("bought_for", to="stock.reservation", title="bought for")


class ReceiptInline(ReadOnlyInline[Receipt, PurchaseOrder]):
    model = Receipt
    fields = ["at", "by", "reason"]
    select_related = ["order"]


class PurchaseOrderChangeInline(ReadOnlyInline[PurchaseOrderChange, PurchaseOrder]):
    model = PurchaseOrderChange
    verbose_name_plural = "what was decided about it"
    fields = ["when", "what", "message", "by", "reason"]

    when = to_the_second("at")
    message = linked("message_id", to="messaging.storedmessage")


class PurchaseOrderForm(OnceForm[PurchaseOrder]):
    reference = forms.CharField(required=False, max_length=100, help_text="Made up where it is left empty.")
    expected_at = Day(required=False, help_text="After the usual lead time where it is left empty.")


@admin.register(PurchaseOrder)
class PurchaseOrderAdmin(AskingAdmin[PurchaseOrder], AddedByService[PurchaseOrder]):
    list_display = ["reference", "status", "ordered_at", "expected_at", "late"]
    list_filter = ["status", "overdue"]
    ordering = ["-ordered_at"]
    search_fields = ["reference"]
    search_ids = ["id"]
    fields = ["reference", "status", "ordered_at", "expected_at", "late", "by", "elsewhere", "id", "see_also"]
    inlines = [PurchaseOrderLineInline, ReceiptInline, PurchaseOrderChangeInline]
    add_form = PurchaseOrderForm
    add_fields = ["new_id", "reference", "expected_at"]
    add_inlines = [PurchaseOrderLineInline]
    actions = ["receive", "cancel", "close_short"]
    questions = {
        "receive_all": ReceiveAll,
        "receive_part": ReceivePart,
        "expect": ExpectGoods,
        "cancel": CancelPurchaseOrders,
        "close_short": CloseShort,
    }

    late = where_true("overdue")

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> PurchaseOrder:
        order = NewPurchaseOrder(
            id=given["new_id"],
            reference=given["reference"],
            expected_at=given["expected_at"],
            lines=[PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines],
        )
        return create_purchase_orders([order], by=request.user.get_username())[0]

    def has_receive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("purchase.receive_purchaseorder")

    @admin.action(description="Receive all that is outstanding", permissions=["receive"])
    def receive(self, request: HttpRequest, orders: QuerySet[PurchaseOrder]) -> None:
        chosen, by = list(orders), request.user.get_username()
        self.carry_out(
            request,
            chosen,
            lambda: receive_goods([Arrival(purchase_order_id=order.pk) for order in chosen], by=by),
            done="Received all of",
            log="Received all that was outstanding.",
        )

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, orders: QuerySet[PurchaseOrder]) -> HttpResponse | None:
        return self.ask_about(request, "cancel", orders)

    @admin.action(description="Close short: the rest will not come", permissions=["act"])
    def close_short(self, request: HttpRequest, orders: QuerySet[PurchaseOrder]) -> HttpResponse | None:
        return self.ask_about(request, "close_short", orders)

    @admin.display
    def see_also(self, order: PurchaseOrder) -> SafeString:
        return side_by_side(
            [
                list_link("purchase.receipt", "receipts", order=order.pk),
                list_link("sales.orderpurchase", "the sales order it is for", purchase_order_id=order.pk),
                list_link("messaging.storedmessage", "messages", key=order.pk),
                list_link("messaging.delivery", "messages on their way", key=order.pk),
            ]
        )


@admin.register(PurchaseOrderLine)
class PurchaseOrderLineAdmin(ReadOnlyAdmin[PurchaseOrderLine]):
    list_display = ["id", "order_link", "product_link", "quantity", "received", "peg"]
    list_filter = ["order__status"]
    list_select_related = ["order", "product"]
    ordering = ["-id"]
    search_fields = ["order__reference", "product__sku", "product__name"]
    search_ids = ["order", "product", "bought_for"]
    fields = ["order", "product", "quantity", "received", "peg"]

    order_link = linked("order")
    product_link = linked("product")
    peg = linked("bought_for", to="stock.reservation", title="bought for")


@admin.register(PurchaseOrderChange)
class PurchaseOrderChangeAdmin(ReadOnlyAdmin[PurchaseOrderChange]):
    list_display = ["id", "when", "order_link", "what", "by", "reason"]
    list_select_related = ["order"]
    ordering = ["-id"]
    search_fields = ["order__reference", "what", "by", "reason"]
    search_ids = ["order"]
    fields = ["order", "when", "from_status", "to_status", "what", "message", "by", "reason"]

    when = to_the_second("at")
    order_link = linked("order")
    message = linked("message_id", to="messaging.storedmessage")
