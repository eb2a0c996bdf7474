from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm
from orderflow.admin_tools.links import ids_called, linked, list_link, side_by_side, to_the_second
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.catalog.admin import QuantityLines, link_products
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderChange, PurchaseOrderLine, Receipt, ReceiptLine
from purchase.services import Arrival, NewPurchaseOrder, create_purchase_orders, receive_goods

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
    fields = ["at", "by"]
    select_related = ["order"]


class ReceiptLineInline(ReadOnlyInline[ReceiptLine, Receipt]):
    model = ReceiptLine
    fields = ["line", "quantity"]
    select_related = ["line__product"]


class PurchaseOrderForm(OnceForm[PurchaseOrder]):
    reference = forms.CharField(required=False, max_length=100, help_text="Made up where it is left empty.")


@admin.register(PurchaseOrder)
class PurchaseOrderAdmin(AddedByService[PurchaseOrder]):
    list_display = ["reference", "status", "ordered_at"]
    list_filter = ["status"]
    ordering = ["-ordered_at"]
    search_fields = ["reference"]
    search_ids = ["id"]
    fields = ["reference", "status", "ordered_at", "by", "id", "see_also"]
    inlines = [PurchaseOrderLineInline, ReceiptInline]
    add_form = PurchaseOrderForm
    add_fields = ["new_id", "reference"]
    add_inlines = [PurchaseOrderLineInline]
    actions = ["receive"]

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> PurchaseOrder:
        order = NewPurchaseOrder(
            id=given["new_id"],
            reference=given["reference"],
            lines=[PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines],
        )
        return create_purchase_orders([order], by=request.user.get_username())[0]

    @admin.action(description="Receive all that is outstanding", permissions=["act"])
    def receive(self, request: HttpRequest, orders: QuerySet[PurchaseOrder]) -> None:
        chosen, by = list(orders), request.user.get_username()
        self.carry_out(
            request,
            chosen,
            lambda: receive_goods([Arrival(purchase_order_id=order.pk) for order in chosen], by=by),
            done="Received all of",
            log="Received all that was outstanding.",
        )

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


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin[Receipt]):
    list_display = ["id", "order_link", "at", "by"]
    list_select_related = ["order"]
    ordering = ["-at"]
    search_fields = ["order__reference", "by"]
    search_ids = ["id", "order"]
    fields = ["id", "order", "at", "by", "see_also"]
    inlines = [ReceiptLineInline]

    order_link = linked("order")

    @admin.display
    def see_also(self, receipt: Receipt) -> SafeString:
        return list_link("stock.stockmovement", "stock movements", document=receipt.pk)


@admin.register(ReceiptLine)
class ReceiptLineAdmin(ReadOnlyAdmin[ReceiptLine]):
    list_display = ["id", "receipt_link", "line_link", "quantity"]
    list_select_related = ["receipt__order", "line__product"]
    ordering = ["-id"]
    search_fields = ["receipt__order__reference", "line__product__sku"]
    search_ids = ["receipt", "line__product"]
    fields = ["receipt", "line", "quantity"]

    receipt_link = linked("receipt")
    line_link = linked("line")


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
