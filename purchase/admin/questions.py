"""What people are asked before purchase orders are received, cancelled, closed short or expected on another day."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminIntegerFieldWidget

from orderflow.admin_tools.asking import Question, Reason, ReasonQuestion
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from purchase.models import (
    STILL_TO_COME,
    PurchaseOrder,
)
from purchase.receiving import Status
from purchase.services import (
    Arrival,
    cancel_purchase_orders,
    close_short,
    expect_goods,
    receive_goods,
)


class Day(forms.DateTimeField):
    """When goods are expected."""

    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local"})


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
