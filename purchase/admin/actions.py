"""The actions on purchase orders: receive, cancel, close short, reschedule."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminIntegerFieldWidget

from orderflow.admin_tools.actions import ActionForm, ReasonActionForm, ReasonField
from orderflow.core.quantities import MAX_QUANTITY, ProductQuantity
from purchase.lifecycle import OPEN_STATUSES, Status
from purchase.models import PurchaseOrder
from purchase.services import (
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    receive_goods,
    reschedule,
)


class ExpectedDateField(forms.DateTimeField):
    """The expected date of a purchase order, with the browser's own date picker."""

    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local"})


class OpenOrderAction(ActionForm[PurchaseOrder]):
    """An action on open purchase orders."""

    @classmethod
    def is_available_for(cls, row: PurchaseOrder) -> bool:
        return row.status in OPEN_STATUSES


class LocalOrderAction(OpenOrderAction):
    """An action on open purchase orders that are not external."""

    @classmethod
    def is_available_for(cls, row: PurchaseOrder) -> bool:
        return super().is_available_for(row) and not row.external


class ReceiveAll(LocalOrderAction):
    label = "Receive all outstanding"
    success_verb = "Received all outstanding goods of"
    log_entry = "Received all outstanding goods"
    permission = "receive"

    def execute(self, *, actor: str) -> object:
        drafts = [ReceiptDraft(purchase_order_id=order.pk) for order in self.rows]
        return receive_goods(drafts, actor=actor)


class CancelPurchaseOrders(ReasonActionForm[PurchaseOrder]):
    label, success_verb, log_entry = "Cancel", "Cancelled", "Cancelled"

    @classmethod
    def is_available_for(cls, row: PurchaseOrder) -> bool:
        return row.status == Status.OPEN and not row.external

    def execute(self, *, actor: str) -> object:
        order_ids = [order.pk for order in self.rows]
        return cancel_purchase_orders(order_ids, actor=actor, reason=self.cleaned_data["reason"])


class CloseShort(LocalOrderAction, ReasonActionForm[PurchaseOrder]):
    label, success_verb, log_entry = "Close short", "Closed short", "Closed short"

    def execute(self, *, actor: str) -> object:
        order_ids = [order.pk for order in self.rows]
        return close_short(order_ids, actor=actor, reason=self.cleaned_data["reason"])


class Reschedule(OpenOrderAction, ReasonActionForm[PurchaseOrder]):
    label, success_verb, log_entry = "Reschedule", "Rescheduled", "Rescheduled"
    expected_at = ExpectedDateField()
    field_order = ["expected_at", "reason"]

    def __init__(self, rows: Sequence[PurchaseOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self.initial["expected_at"] = self._order.expected_at

    def execute(self, *, actor: str) -> object:
        return reschedule(
            self._order.pk,
            self.cleaned_data["expected_at"],
            actor=actor,
            reason=self.cleaned_data["reason"],
        )


class ReceivedQuantityForm(forms.Form):
    quantity = forms.IntegerField(
        required=False, min_value=0, max_value=MAX_QUANTITY, widget=AdminIntegerFieldWidget
    )

    def received_quantity(self) -> int:
        """Return the quantity; 0 if it is empty or invalid."""
        return (self.is_valid() and self.cleaned_data["quantity"]) or 0


class ReceivePartially(LocalOrderAction):
    """Show one quantity field for each line, named by the id of the line.

    A receipt that is recorded in the meantime does not shift the fields.
    """

    label = "Receive partially"
    success_verb = "Recorded a receipt for"
    log_entry = "Recorded a receipt"
    permission = "receive"
    headings = ["SKU", "Ordered", "Received", "Outstanding", "Received now"]
    receipt_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)
    reason = ReasonField(required=False)

    def __init__(self, rows: Sequence[PurchaseOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self._lines = [
            (line, ReceivedQuantityForm(data, prefix=f"line-{line.pk}"))
            for line in self._order.lines.select_related("product")
        ]
        self.parts = [form for _, form in self._lines]

    def table(self) -> Iterable[Sequence[object]]:
        for line, form in self._lines:
            outstanding = max(line.quantity - line.received, 0)
            if outstanding or form.has_changed() or settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE:
                quantities = (line.quantity, line.received, outstanding)
                yield line.product.sku, *quantities, form["quantity"]

    def clean(self) -> None:
        if not any(form.received_quantity() or form.errors for _, form in self._lines):
            raise forms.ValidationError("Enter a received quantity for at least one line.")

    def execute(self, *, actor: str) -> object:
        received = [
            ProductQuantity(product_id=line.product_id, quantity=form.received_quantity())
            for line, form in self._lines
            if form.received_quantity()
        ]
        draft = ReceiptDraft(
            purchase_order_id=self._order.pk, id=self.cleaned_data["receipt_id"], lines=received
        )
        return receive_goods([draft], actor=actor, reason=self.cleaned_data["reason"])
