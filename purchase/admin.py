import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm
from orderflow.admin_tools.asking import AskingAdmin, Question, Reason, ReasonQuestion
from orderflow.admin_tools.links import add_link, ids_called, linked, list_link, side_by_side, to_the_second, where_true
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.catalog.admin import QuantityLines, link_products
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from purchase.contract import PeggedQuantity
from purchase.models import (
    STILL_TO_COME,
    PurchaseOrder,
    PurchaseOrderChange,
    PurchaseOrderLine,
    Receipt,
    ReceiptLine,
    RemoteReceipt,
    RemoteReceiptLine,
)
from purchase.receiving import Status
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    expect_goods,
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


class ReceiptLineInline(ReadOnlyInline[ReceiptLine, Receipt]):
    model = ReceiptLine
    fields = ["line", "quantity", "reversed", "counted_wrongly"]
    select_related = ["line__product"]

    @admin.display
    def counted_wrongly(self, row: ReceiptLine) -> SafeString:
        return add_link("stock.receiptreversal", "reverse", product=row.line.product_id, receipt=row.receipt_id)


class PurchaseOrderChangeInline(ReadOnlyInline[PurchaseOrderChange, PurchaseOrder]):
    model = PurchaseOrderChange
    verbose_name_plural = "what was decided about it"
    fields = ["when", "what", "message", "by", "reason"]

    when = to_the_second("at")
    message = linked("message_id", to="messaging.storedmessage")


class Day(forms.DateTimeField):
    """When goods are expected."""

    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local"})


class PurchaseOrderForm(OnceForm[PurchaseOrder]):
    reference = forms.CharField(required=False, max_length=100, help_text="Made up where it is left empty.")
    expected_at = Day(required=False, help_text="After the usual lead time where it is left empty.")


class AboutWhatIsToCome(Question[PurchaseOrder]):
    @classmethod
    def makes_sense_for(cls, row: PurchaseOrder) -> bool:
        return row.status in STILL_TO_COME


class AboutWhatIsReceivedHere(AboutWhatIsToCome):
    @classmethod
    def makes_sense_for(cls, row: PurchaseOrder) -> bool:
        return super().makes_sense_for(row) and not row.elsewhere


class ReceiveAll(AboutWhatIsReceivedHere):
    label, done, logged = "Receive all", "Received all of", "Received all that was outstanding"
    needs = "receive"

    def carry_out(self, *, by: str) -> object:
        return receive_goods([Arrival(purchase_order_id=order.pk) for order in self.rows], by=by)


class CancelPurchaseOrders(ReasonQuestion[PurchaseOrder]):
    label, done, logged = "Cancel", "Cancelled", "Cancelled"

    @classmethod
    def makes_sense_for(cls, row: PurchaseOrder) -> bool:
        return row.status == Status.OPEN and not row.elsewhere

    def carry_out(self, *, by: str) -> object:
        return cancel_purchase_orders([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class CloseShort(AboutWhatIsReceivedHere, ReasonQuestion[PurchaseOrder]):
    label, done, logged = "Close short", "Closed short", "Closed short"

    def carry_out(self, *, by: str) -> object:
        return close_short([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class ExpectGoods(AboutWhatIsToCome, ReasonQuestion[PurchaseOrder]):
    label, done, logged = "Change the expected date", "Changed the expected date of", "Changed the expected date"
    expected_at = Day()
    field_order = ["expected_at", "reason"]

    def __init__(self, rows: Sequence[PurchaseOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self.initial["expected_at"] = self._order.expected_at

    def carry_out(self, *, by: str) -> object:
        return expect_goods(self._order.pk, self.cleaned_data["expected_at"], by=by, reason=self.cleaned_data["reason"])


class ArrivedNow(forms.Form):
    quantity = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_QUANTITY, widget=AdminIntegerFieldWidget)

    def given(self) -> int:
        return (self.is_valid() and self.cleaned_data["quantity"]) or 0


class ReceivePart(AboutWhatIsReceivedHere):
    """Each line has a form of its own: what somebody else received meanwhile moves no quantity to another line."""

    label, done, logged = "Receive a part", "Received a part of", "Received a part"
    needs = "receive"
    headings = ["SKU", "Ordered", "Received", "Still to come", "Arrived now"]
    receipt_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)
    reason = Reason(required=False)

    def __init__(self, rows: Sequence[PurchaseOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        lines = self._order.lines.select_related("product")
        self._arrived = [(line, ArrivedNow(data, prefix=f"line-{line.pk}")) for line in lines]
        self.parts = [form for _, form in self._arrived]

    def table(self) -> Iterable[Sequence[object]]:
        for line, form in self._arrived:
            to_come = line.quantity - line.received
            if to_come > 0 or form.has_changed() or settings.ORDERFLOW_OVER_RECEIPT:
                yield line.product.sku, line.quantity, line.received, max(to_come, 0), form["quantity"]

    def clean(self) -> None:
        if not any(form.given() or form.errors for _, form in self._arrived):
            raise forms.ValidationError("Say of at least one line how much arrived.")

    def carry_out(self, *, by: str) -> object:
        lines = [
            ProductQuantity(product_id=line.product_id, quantity=form.given()) for line, form in self._arrived if form.given()
        ]
        arrival = Arrival(purchase_order_id=self._order.pk, id=self.cleaned_data["receipt_id"], lines=lines)
        return receive_goods([arrival], by=by, reason=self.cleaned_data["reason"])


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
