"""What arrived, and what another system says has arrived."""

from django.contrib import admin
from django.utils.safestring import SafeString

from orderflow.admin_tools.links import add_link, linked, list_link, side_by_side
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from purchase.models import (
    Receipt,
    ReceiptLine,
    RemoteReceipt,
    RemoteReceiptLine,
)


class ReceiptLineInline(ReadOnlyInline[ReceiptLine, Receipt]):
    model = ReceiptLine
    fields = ["line", "quantity", "reversed", "counted_wrongly"]
    select_related = ["line__product"]

    @admin.display
    def counted_wrongly(self, row: ReceiptLine) -> SafeString:
        return add_link("stock.receiptreversal", "reverse", product=row.line.product_id, receipt=row.receipt_id)


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin[Receipt]):
    list_display = ["id", "order_link", "at", "by", "reason"]
    list_select_related = ["order"]
    ordering = ["-at"]
    search_fields = ["order__reference", "by", "reason"]
    search_ids = ["id", "order"]
    fields = ["id", "order", "at", "by", "reason", "see_also"]
    inlines = [ReceiptLineInline]

    order_link = linked("order")

    @admin.display
    def see_also(self, receipt: Receipt) -> SafeString:
        return side_by_side(
            [
                list_link("stock.stockmovement", "stock movements", document=receipt.pk),
                list_link("stock.receiptreversal", "reversals", corrects=receipt.pk),
                add_link("stock.receiptreversal", "reverse what was counted wrongly", receipt=receipt.pk),
            ]
        )


@admin.register(ReceiptLine)
class ReceiptLineAdmin(ReadOnlyAdmin[ReceiptLine]):
    list_display = ["id", "receipt_link", "line_link", "quantity", "reversed"]
    list_select_related = ["receipt__order", "line__product"]
    ordering = ["-id"]
    search_fields = ["receipt__order__reference", "line__product__sku"]
    search_ids = ["receipt", "line__product"]
    fields = ["receipt", "line", "quantity", "reversed"]

    receipt_link = linked("receipt")
    line_link = linked("line")


class RemoteReceiptLineInline(ReadOnlyInline[RemoteReceiptLine, RemoteReceipt]):
    model = RemoteReceiptLine
    fields = ["product", "quantity"]
    select_related = ["product"]


@admin.register(RemoteReceipt)
class RemoteReceiptAdmin(ReadOnlyAdmin[RemoteReceipt]):
    list_display = ["id", "order_link", "number", "complete", "booked", "at", "by"]
    list_filter = ["booked"]
    list_select_related = ["order"]
    ordering = ["-id"]
    search_fields = ["order__reference", "by"]
    search_ids = ["order", "receipt_id"]
    fields = ["order", "number", "complete", "booked", "receipt", "at", "by"]
    inlines = [RemoteReceiptLineInline]

    order_link = linked("order")
    receipt = linked("receipt_id", to="purchase.receipt", title="receipt")


@admin.register(RemoteReceiptLine)
class RemoteReceiptLineAdmin(ReadOnlyAdmin[RemoteReceiptLine]):
    list_display = ["id", "told_link", "product_link", "quantity"]
    list_select_related = ["remote_receipt__order", "product"]
    ordering = ["-id"]
    search_fields = ["remote_receipt__order__reference", "product__sku"]
    search_ids = ["remote_receipt__id", "product"]
    fields = ["remote_receipt", "product", "quantity"]

    told_link = linked("remote_receipt")
    product_link = linked("product")
