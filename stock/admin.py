"""The admin pages of Stock. Services record stock adjustments and receipt reversals."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminUUIDInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.actions import ReasonField
from orderflow.admin_tools.links import (
    add_link,
    inline_list,
    link_column,
    list_link,
    page_link,
    register_id_link,
    time_column,
)
from orderflow.admin_tools.read_only import ReadOnlyAdmin, ReadOnlyInline
from orderflow.admin_tools.service_forms import IdempotentForm, ServiceAddAdmin
from orderflow.catalog.admin import register_product_link
from orderflow.core.quantities import MAX_QUANTITY
from orderflow.core.reasons import MAX_REASON_LENGTH
from stock.models import (
    MovementType,
    ReceiptReversal,
    Reservation,
    ReservationLine,
    StockAdjustment,
    StockLevel,
    StockMovement,
)
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt

register_id_link("reservation_id", model="stock.reservation")
register_product_link(
    lambda product_id: list_link("stock.stocklevel", "Stock level", product=product_id)
)
register_product_link(
    lambda product_id: list_link("stock.reservationline", "Reservation lines", product=product_id)
)
register_product_link(
    lambda product_id: list_link("stock.stockmovement", "Stock movements", product=product_id)
)
register_product_link(
    lambda product_id: add_link("stock.stockadjustment", "Adjust stock", product=product_id)
)


@admin.register(StockLevel)
class StockLevelAdmin(ReadOnlyAdmin[StockLevel]):
    list_display = ["product", "on_hand", "reserved", "available", "related"]
    list_select_related = ["product"]
    ordering = ["product__sku"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["product"]
    fields = ["product", "on_hand", "reserved", "available", "related"]

    @admin.display
    def related(self, level: StockLevel) -> SafeString:
        backorders = {"product": level.pk, "backordered": "yes"}
        return inline_list(
            [
                list_link("stock.reservationline", "Backorders", **backorders),
                list_link("stock.stockmovement", "Stock movements", product=level.pk),
                add_link("stock.stockadjustment", "Adjust stock", product=level.pk),
            ]
        )


class ReservationLineInline(ReadOnlyInline[ReservationLine, Reservation]):
    model = ReservationLine
    fields = ["product", "quantity", "reserved", "shortage"]
    select_related = ["product"]


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin[Reservation]):
    list_display = [
        "id",
        "status",
        "priority",
        "placed_at",
        "revision",
        "request_number",
        "sales_order",
    ]
    list_filter = ["status"]
    ordering = ["-placed_at"]
    search_fields = ["lines__product__sku", "lines__product__name"]
    search_ids = ["id"]
    fields = [
        "sales_order",
        "status",
        "priority",
        "placed_at",
        "revision",
        "request_number",
        "related",
    ]
    inlines = [ReservationLineInline]

    sales_order = link_column("id", model="sales.salesorder", title="sales order")

    @admin.display
    def related(self, reservation: Reservation) -> SafeString:
        key = reservation.pk
        return inline_list(
            [
                list_link("stock.stockmovement", "Stock movements", source_document_id=key),
                list_link("messaging.storedmessage", "Messages", key=key),
                list_link("messaging.queuedmessage", "Queued messages", key=key),
            ]
        )


class BackorderedFilter(admin.SimpleListFilter):
    title = parameter_name = "backordered"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[ReservationLine]
    ) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ReservationLine]
    ) -> QuerySet[ReservationLine]:
        match self.value():
            case "yes":
                return queryset.filter(pk__in=ReservationLine.objects.backordered())
            case "no":
                return queryset.exclude(pk__in=ReservationLine.objects.backordered())
        return queryset


@admin.register(ReservationLine)
class ReservationLineAdmin(ReadOnlyAdmin[ReservationLine]):
    list_display = ["id", "reservation_link", "product_link", "quantity", "reserved", "shortage"]
    list_filter = [BackorderedFilter, "reservation__status"]
    list_select_related = ["reservation", "product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name"]
    search_ids = ["reservation", "product"]
    fields = ["reservation", "product", "quantity", "reserved", "shortage"]

    reservation_link = link_column("reservation")
    product_link = link_column("product")


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin[StockMovement]):
    list_display = [
        "id",
        "created",
        "product_link",
        "movement_type",
        "on_hand",
        "reserved",
        "source_document",
        "message",
    ]
    list_filter = ["movement_type"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "actor"]
    search_ids = ["source_document_id", "product"]
    fields = [
        "created",
        "product",
        "movement_type",
        "on_hand",
        "reserved",
        "source_document",
        "message",
        "actor",
        "reason",
    ]

    created = time_column("created_at")
    product_link = link_column("product")
    message = link_column("message_id", model="messaging.storedmessage")

    @admin.display(ordering="source_document_id")
    def source_document(self, movement: StockMovement) -> SafeString:
        match movement.movement_type:
            case MovementType.RECEIVED:
                return page_link("purchase.receipt", movement.source_document_id, "Receipt")
            case MovementType.ADJUSTED:
                return page_link("stock.stockadjustment", movement.pk, "Adjustment")
            case MovementType.REVERSED:
                return page_link("stock.receiptreversal", movement.pk, "Reversal")
        return page_link("stock.reservation", movement.source_document_id, "Reservation")


class StockAdjustmentForm(IdempotentForm[StockAdjustment]):
    quantity = forms.IntegerField(
        min_value=-MAX_QUANTITY,
        max_value=MAX_QUANTITY,
        help_text="Positive adds stock, negative removes stock.",
    )
    reason = forms.CharField(max_length=MAX_REASON_LENGTH)

    def clean_quantity(self) -> int:
        quantity: int = self.cleaned_data["quantity"]
        if not quantity:
            raise forms.ValidationError("Quantity must not be 0.")
        return quantity


@admin.register(StockAdjustment)
class StockAdjustmentAdmin(ServiceAddAdmin[StockAdjustment]):
    list_display = ["id", "created_at", "product_link", "quantity", "reason", "actor"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "actor"]
    search_ids = ["source_document_id", "product"]
    autocomplete_fields = ["product"]
    fields = ["created_at", "product", "quantity", "reason", "actor", "source_document_id"]
    add_form = StockAdjustmentForm
    add_fields = ["new_id", "product", "quantity", "reason"]

    product_link = link_column("product")

    @admin.display(ordering="on_hand")
    def quantity(self, adjustment: StockAdjustment) -> str:
        return f"{adjustment.on_hand:+}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockAdjustment]:
        return super().get_queryset(request).filter(movement_type=MovementType.ADJUSTED)

    def create(
        self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]
    ) -> StockAdjustment:
        adjustment = Adjustment(
            id=given["new_id"],
            product_id=given["product"].pk,
            quantity=given["quantity"],
            reason=given["reason"],
        )
        adjust_stock([adjustment], actor=request.user.get_username())
        return StockAdjustment.objects.get(
            movement_type=MovementType.ADJUSTED, source_document_id=adjustment.id
        )


class ReceiptReversalForm(IdempotentForm[ReceiptReversal]):
    receipt = forms.UUIDField(help_text="Id of the receipt.", widget=AdminUUIDInputWidget)
    quantity = forms.IntegerField(
        min_value=1, max_value=MAX_QUANTITY, help_text="Quantity to reverse."
    )
    reason = ReasonField()


@admin.register(ReceiptReversal)
class ReceiptReversalAdmin(ServiceAddAdmin[ReceiptReversal]):
    list_display = ["id", "created_at", "product_link", "on_hand", "reason", "actor"]
    list_select_related = ["product"]
    ordering = ["-id"]
    search_fields = ["product__sku", "product__name", "reason", "actor"]
    search_ids = ["source_document_id", "reversed_receipt_id", "product"]
    autocomplete_fields = ["product"]
    fields = [
        "created_at",
        "product",
        "on_hand",
        "receipt",
        "reason",
        "actor",
        "source_document_id",
    ]
    add_form = ReceiptReversalForm
    add_fields = ["new_id", "receipt", "product", "quantity", "reason"]

    product_link = link_column("product")
    receipt = link_column("reversed_receipt_id", model="purchase.receipt", title="receipt")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReceiptReversal]:
        return super().get_queryset(request).filter(movement_type=MovementType.REVERSED)

    def create(
        self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]
    ) -> ReceiptReversal:
        reversal = Reversal(
            id=given["new_id"],
            receipt_id=given["receipt"],
            product_id=given["product"].pk,
            quantity=given["quantity"],
            reason=given["reason"],
        )
        reverse_receipt(reversal, actor=request.user.get_username())
        return ReceiptReversal.objects.get(
            movement_type=MovementType.REVERSED, source_document_id=reversal.id
        )
