from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminUUIDInputWidget
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, OnceForm
from orderflow.admin_tools.asking import Reason
from orderflow.admin_tools.links import add_link, ids_called, linked, list_link, page_link, side_by_side, to_the_second
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.catalog.admin import link_products
from orderflow.catalog.quantities import LARGEST_QUANTITY
from stock.models import Balance, Movement, ReceiptReversal, Reservation, ReservationLine, StockAdjustment, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt

ids_called("reservation_id", have_page="stock.reservation")
link_products(lambda product_id: list_link("stock.balance", "balance", product=product_id))
link_products(lambda product_id: list_link("stock.reservationline", "reservation lines", product=product_id))
link_products(lambda product_id: list_link("stock.stockmovement", "stock movements", product=product_id))
link_products(lambda product_id: add_link("stock.stockadjustment", "adjust stock", product=product_id))


@admin.register(Balance)
class BalanceAdmin(ReadOnlyAdmin[Balance]):
    list_display = ["product", "on_hand", "reserved", "available", "see_also"]
    list_select_related = ["product"]
    ordering = ["product__sku"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["product"]
    fields = ["product", "on_hand", "reserved", "available", "see_also"]

    @admin.display
    def see_also(self, balance: Balance) -> SafeString:
        return side_by_side(
            [
                list_link("stock.reservationline", "who waits for it", product=balance.pk, full="no"),
                list_link("stock.stockmovement", "movements", product=balance.pk),
                add_link("stock.stockadjustment", "adjust", product=balance.pk),
            ]
        )


class ReservationLineInline(ReadOnlyInline[ReservationLine, Reservation]):
    model = ReservationLine
    fields = ["product", "quantity", "held", "missing"]
    select_related = ["product"]


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin[Reservation]):
    list_display = ["id", "status", "priority", "placed_at", "revision", "request", "sales_order"]
    list_filter = ["status"]
    ordering = ["-placed_at"]
    search_fields = ["lines__product__sku", "lines__product__name"]
    search_ids = ["id"]
    fields = ["sales_order", "status", "priority", "placed_at", "revision", "request", "see_also"]
    inlines = [ReservationLineInline]

    sales_order = linked("id", to="sales.salesorder", title="sales order")

    @admin.display
    def see_also(self, reservation: Reservation) -> SafeString:
        return side_by_side(
            [
                list_link("stock.stockmovement", "stock movements", document=reservation.pk),
                list_link("messaging.storedmessage", "messages", key=reservation.pk),
                list_link("messaging.delivery", "messages on their way", key=reservation.pk),
            ]
        )


class FullFilter(admin.SimpleListFilter):
    title = parameter_name = "full"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[ReservationLine]) -> list[tuple[str, str]]:
        return [("no", "No: it waits"), ("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ReservationLine]) -> QuerySet[ReservationLine]:
        match self.value():
            case "no":
                return queryset.filter(held__lt=F("quantity"))
            case "yes":
                return queryset.filter(held=F("quantity"))
        return queryset


@admin.register(ReservationLine)
class ReservationLineAdmin(ReadOnlyAdmin[ReservationLine]):
    list_display = ["id", "reservation_link", "product_link", "quantity", "held", "missing"]
    list_filter = [FullFilter, "reservation__status"]
    list_select_related = ["reservation", "product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["reservation", "product"]
    fields = ["reservation", "product", "quantity", "held", "missing"]

    reservation_link = linked("reservation")
    product_link = linked("product")


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin[StockMovement]):
    list_display = ["id", "when", "product_link", "kind", "on_hand", "reserved", "what_for", "message"]
    list_filter = ["kind"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "by"]
    search_ids = ["document", "product"]
    fields = ["when", "product", "kind", "on_hand", "reserved", "what_for", "message", "by", "reason"]

    when = to_the_second("at")
    product_link = linked("product")
    message = linked("message_id", to="messaging.storedmessage")

    @admin.display(description="document", ordering="document")
    def what_for(self, movement: StockMovement) -> SafeString:
        match movement.kind:
            case Movement.RECEIVED:
                return page_link("purchase.receipt", movement.document, "receipt")
            case Movement.ADJUSTED:
                return page_link("stock.stockadjustment", movement.pk, "adjustment")
            case Movement.REVERSED:
                return page_link("stock.receiptreversal", movement.pk, "reversal")
        return page_link("stock.reservation", movement.document, "reservation")


class StockAdjustmentForm(OnceForm[StockAdjustment]):
    quantity = forms.IntegerField(
        min_value=-LARGEST_QUANTITY, max_value=LARGEST_QUANTITY, help_text="More than the balance says, or less (with a minus)."
    )
    reason = forms.CharField(max_length=200)

    def clean_quantity(self) -> int:
        quantity: int = self.cleaned_data["quantity"]
        if not quantity:
            raise forms.ValidationError("Nothing was found and nothing is missing: there is nothing to book.")
        return quantity


@admin.register(StockAdjustment)
class StockAdjustmentAdmin(AddedByService[StockAdjustment]):
    list_display = ["id", "at", "product_link", "quantity", "reason", "by"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "by"]
    search_ids = ["document", "product"]
    autocomplete_fields = ["product"]
    fields = ["at", "product", "quantity", "reason", "by", "document"]
    add_form = StockAdjustmentForm
    add_fields = ["new_id", "product", "quantity", "reason"]

    product_link = linked("product")

    @admin.display(ordering="on_hand")
    def quantity(self, adjustment: StockAdjustment) -> str:
        return f"{adjustment.on_hand:+}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockAdjustment]:
        return super().get_queryset(request).filter(kind=Movement.ADJUSTED)

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> StockAdjustment:
        adjustment = Adjustment(
            id=given["new_id"], product_id=given["product"].pk, quantity=given["quantity"], reason=given["reason"]
        )
        adjust_stock([adjustment], by=request.user.get_username())
        return StockAdjustment.objects.get(kind=Movement.ADJUSTED, document=adjustment.id)


class ReceiptReversalForm(OnceForm[ReceiptReversal]):
    receipt = forms.UUIDField(help_text="The id of the receipt that was counted wrongly.", widget=AdminUUIDInputWidget)
    quantity = forms.IntegerField(min_value=1, max_value=LARGEST_QUANTITY, help_text="How much of it has not arrived.")
    reason = Reason()


@admin.register(ReceiptReversal)
class ReceiptReversalAdmin(AddedByService[ReceiptReversal]):
    list_display = ["id", "at", "product_link", "on_hand", "reason", "by"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "by"]
    search_ids = ["document", "corrects", "product"]
    autocomplete_fields = ["product"]
    fields = ["at", "product", "on_hand", "receipt", "reason", "by", "document"]
    add_form = ReceiptReversalForm
    add_fields = ["new_id", "receipt", "product", "quantity", "reason"]

    product_link = linked("product")
    receipt = linked("corrects", to="purchase.receipt", title="receipt")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReceiptReversal]:
        return super().get_queryset(request).filter(kind=Movement.REVERSED)

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> ReceiptReversal:
        reversal = Reversal(
            id=given["new_id"],
            receipt_id=given["receipt"],
            product_id=given["product"].pk,
            quantity=given["quantity"],
            reason=given["reason"],
        )
        reverse_receipt(reversal, by=request.user.get_username())
        return ReceiptReversal.objects.get(kind=Movement.REVERSED, document=reversal.id)
