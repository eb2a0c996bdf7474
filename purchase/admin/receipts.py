"""The admin pages of receipts and external receipts."""

from django.contrib import admin
from django.utils.safestring import SafeString

from orderflow.admin_tools.links import add_link, inline_list, link_column, list_link
from orderflow.admin_tools.read_only import ReadOnlyAdmin, ReadOnlyInline
from purchase.models import (
    ExternalReceipt,
    ExternalReceiptLine,
    Receipt,
    ReceiptLine,
)


class ReceiptLineInline(ReadOnlyInline[ReceiptLine, Receipt]):
    model = ReceiptLine
    fields = ["line", "quantity", "reversed", "reverse"]
    select_related = ["line__product"]

    @admin.display
    def reverse(self, row: ReceiptLine) -> SafeString:
        initial = {"product": row.line.product_id, "receipt": row.receipt_id}
        return add_link("stock.receiptreversal", "Reverse", **initial)


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin[Receipt]):
    list_display = ["id", "order_link", "created_at", "actor", "reason"]
    list_select_related = ["order"]
    ordering = ["-created_at"]
    search_fields = ["order__reference", "actor", "reason"]
    search_ids = ["id", "order"]
    fields = ["id", "order", "created_at", "actor", "reason", "related"]
    inlines = [ReceiptLineInline]

    order_link = link_column("order")

    @admin.display
    def related(self, receipt: Receipt) -> SafeString:
        receipt_id = receipt.pk
        return inline_list(
            [
                list_link("stock.stockmovement", "Stock movements", source_document_id=receipt_id),
                list_link(
                    "stock.receiptreversal", "Receipt reversals", reversed_receipt_id=receipt_id
                ),
                add_link("stock.receiptreversal", "Reverse this receipt", receipt=receipt_id),
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

    receipt_link = link_column("receipt")
    line_link = link_column("line")


class ExternalReceiptLineInline(ReadOnlyInline[ExternalReceiptLine, ExternalReceipt]):
    model = ExternalReceiptLine
    fields = ["product", "quantity"]
    select_related = ["product"]


@admin.register(ExternalReceipt)
class ExternalReceiptAdmin(ReadOnlyAdmin[ExternalReceipt]):
    list_display = [
        "id",
        "order_link",
        "sequence_number",
        "final",
        "applied",
        "created_at",
        "actor",
    ]
    list_filter = ["applied"]
    list_select_related = ["order"]
    ordering = ["-id"]
    search_fields = ["order__reference", "actor"]
    search_ids = ["order", "receipt_id"]
    fields = ["order", "sequence_number", "final", "applied", "receipt", "created_at", "actor"]
    inlines = [ExternalReceiptLineInline]

    order_link = link_column("order")
    receipt = link_column("receipt_id", model="purchase.receipt")


@admin.register(ExternalReceiptLine)
class ExternalReceiptLineAdmin(ReadOnlyAdmin[ExternalReceiptLine]):
    list_display = ["id", "external_receipt_link", "product_link", "quantity"]
    list_select_related = ["external_receipt__order", "product"]
    ordering = ["-id"]
    search_fields = ["external_receipt__order__reference", "product__sku"]
    search_ids = ["external_receipt__id", "product"]
    fields = ["external_receipt", "product", "quantity"]

    external_receipt_link = link_column("external_receipt")
    product_link = link_column("product")
