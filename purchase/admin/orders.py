"""The admin pages of purchase orders. Services create, receive, cancel and close them."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from orderflow.admin_tools.actions import ActionAdmin
from orderflow.admin_tools.links import (
    flag_column,
    inline_list,
    link_column,
    list_link,
    register_id_link,
    time_column,
)
from orderflow.admin_tools.read_only import ReadOnlyAdmin, ReadOnlyInline
from orderflow.admin_tools.service_forms import IdempotentForm, ServiceAddAdmin
from orderflow.catalog.admin import QuantityLines, register_product_link
from purchase.admin.actions import (
    CancelPurchaseOrders,
    CloseShort,
    ExpectedDateField,
    ReceiveAll,
    ReceivePartially,
    Reschedule,
)
from purchase.contract import PeggedQuantity
from purchase.lifecycle import Status
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    Receipt,
)
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    create_purchase_orders,
    receive_goods,
)

register_id_link("purchase_order_id", model="purchase.purchaseorder")
register_id_link("receipt_id", model="purchase.receipt")
register_id_link("pegged_to", model="stock.reservation")
register_product_link(
    lambda product_id: list_link(
        "purchase.purchaseorderline", "Purchase order lines", product=product_id
    )
)


class PurchaseOrderLineInline(QuantityLines[PurchaseOrderLine, PurchaseOrder]):
    model = PurchaseOrderLine
    fields = ["product", "quantity", "received", "peg"]

    peg = link_column("pegged_to", model="stock.reservation")


class ReceiptInline(ReadOnlyInline[Receipt, PurchaseOrder]):
    model = Receipt
    fields = ["created_at", "actor", "reason"]
    select_related = ["order"]


class PurchaseOrderHistoryEntryInline(ReadOnlyInline[PurchaseOrderHistoryEntry, PurchaseOrder]):
    model = PurchaseOrderHistoryEntry
    verbose_name_plural = "history"
    fields = ["created", "description", "message", "actor", "reason"]

    created = time_column("created_at")
    message = link_column("message_id", model="messaging.storedmessage")


class PurchaseOrderForm(IdempotentForm[PurchaseOrder]):
    reference = forms.CharField(
        required=False, max_length=100, help_text="Leave empty to generate one."
    )
    expected_at = ExpectedDateField(
        required=False, help_text="If empty, the default lead time is used."
    )


@admin.register(PurchaseOrder)
class PurchaseOrderAdmin(ActionAdmin[PurchaseOrder], ServiceAddAdmin[PurchaseOrder]):
    list_display = ["reference", "status", "ordered_at", "expected_at", "overdue_flag"]
    list_filter = ["status", "overdue"]
    ordering = ["-ordered_at"]
    search_fields = ["reference"]
    search_ids = ["id"]
    fields = [
        "reference",
        "status",
        "ordered_at",
        "expected_at",
        "overdue_flag",
        "actor",
        "external",
        "id",
        "related",
    ]
    inlines = [PurchaseOrderLineInline, ReceiptInline, PurchaseOrderHistoryEntryInline]
    add_form = PurchaseOrderForm
    add_fields = ["new_id", "reference", "expected_at"]
    add_inlines = [PurchaseOrderLineInline]
    actions = ["receive", "cancel", "close_short"]
    action_forms = {
        "receive_all": ReceiveAll,
        "receive_partially": ReceivePartially,
        "reschedule": Reschedule,
        "cancel": CancelPurchaseOrders,
        "close_short": CloseShort,
    }

    overdue_flag = flag_column("overdue")

    def create(
        self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]
    ) -> PurchaseOrder:
        draft = PurchaseOrderDraft(
            id=given["new_id"],
            reference=given["reference"],
            expected_at=given["expected_at"],
            lines=[
                PeggedQuantity(product_id=line.product_id, quantity=line.quantity)
                for line in lines
            ],
        )
        return create_purchase_orders([draft], actor=request.user.get_username())[0]

    def has_receive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("purchase.receive_purchaseorder")

    @admin.action(description=ReceiveAll.label, permissions=["receive"])
    def receive(self, request: HttpRequest, selected: QuerySet[PurchaseOrder]) -> None:
        orders, actor = list(selected), request.user.get_username()
        drafts = [ReceiptDraft(purchase_order_id=order.pk) for order in orders]
        self.run_service(
            request,
            orders,
            lambda: receive_goods(drafts, actor=actor),
            success_verb=ReceiveAll.success_verb,
            log_entry=f"{ReceiveAll.log_entry}.",
        )

    @admin.action(description=CancelPurchaseOrders.label, permissions=["act"])
    def cancel(
        self, request: HttpRequest, selected: QuerySet[PurchaseOrder]
    ) -> HttpResponse | None:
        return self.confirm(request, "cancel", selected)

    @admin.action(description=CloseShort.label, permissions=["act"])
    def close_short(
        self, request: HttpRequest, selected: QuerySet[PurchaseOrder]
    ) -> HttpResponse | None:
        return self.confirm(request, "close_short", selected)

    @admin.display
    def related(self, order: PurchaseOrder) -> SafeString:
        linked = {"purchase_order_id": order.pk}
        return inline_list(
            [
                list_link("purchase.receipt", "Receipts", order=order.pk),
                list_link("sales.linkedpurchaseorder", "Sales order", **linked),
                list_link("messaging.storedmessage", "Messages", key=order.pk),
                list_link("messaging.queuedmessage", "Queued messages", key=order.pk),
            ]
        )


@admin.register(PurchaseOrderLine)
class PurchaseOrderLineAdmin(ReadOnlyAdmin[PurchaseOrderLine]):
    list_display = ["id", "order_link", "product_link", "quantity", "received", "peg"]
    list_filter = ["order__status"]
    list_select_related = ["order", "product"]
    ordering = ["-id"]
    search_fields = ["order__reference", "product__sku", "product__name"]
    search_ids = ["order", "product", "pegged_to"]
    fields = ["order", "product", "quantity", "received", "peg"]

    order_link = link_column("order")
    product_link = link_column("product")
    peg = link_column("pegged_to", model="stock.reservation")


@admin.register(PurchaseOrderHistoryEntry)
class PurchaseOrderHistoryEntryAdmin(ReadOnlyAdmin[PurchaseOrderHistoryEntry]):
    list_display = ["id", "created", "order_link", "description", "actor", "reason"]
    list_select_related = ["order"]
    ordering = ["-id"]
    search_fields = ["order__reference", "description", "actor", "reason"]
    search_ids = ["order"]
    fields = [
        "order",
        "created",
        "status_change",
        "description",
        "message",
        "actor",
        "reason",
    ]

    created = time_column("created_at")
    order_link = link_column("order")
    message = link_column("message_id", model="messaging.storedmessage")

    @admin.display
    def status_change(self, entry: PurchaseOrderHistoryEntry) -> str:
        return f"{Status(entry.from_status).label} → {Status(entry.to_status).label}"
