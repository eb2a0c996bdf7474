"""The actions on sales orders: deliver, cancel, change lines, retry."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget

from orderflow.admin_tools.actions import ActionForm, ReasonActionForm
from orderflow.admin_tools.service_forms import TolerantSelect
from orderflow.catalog.models import Product
from orderflow.core.quantities import MAX_QUANTITY, ProductQuantity
from sales.models import SalesOrder, SalesOrderLine
from sales.process_manager import CLOSED_STATUSES, Status
from sales.services import cancel_orders, change_order, deliver_orders, retry_reservations


class DeliverOrders(ActionForm[SalesOrder]):
    label, success_verb, log_entry = "Deliver", "Delivered", "Delivered"
    permission = "deliver"

    @classmethod
    def is_available_for(cls, row: SalesOrder) -> bool:
        return row.status == Status.DELIVERABLE

    def execute(self, *, actor: str) -> object:
        return deliver_orders([order.pk for order in self.rows], actor=actor)


class CancelOrders(ReasonActionForm[SalesOrder]):
    label, success_verb, log_entry = "Cancel", "Cancelled", "Cancelled"

    @classmethod
    def is_available_for(cls, row: SalesOrder) -> bool:
        return row.status not in CLOSED_STATUSES

    def execute(self, *, actor: str) -> object:
        order_ids = [order.pk for order in self.rows]
        return cancel_orders(order_ids, actor=actor, reason=self.cleaned_data["reason"])


class RetryReservations(ReasonActionForm[SalesOrder]):
    label, success_verb, log_entry = "Retry reservation", "Retried", "Retried reservation"

    @classmethod
    def is_available_for(cls, row: SalesOrder) -> bool:
        return row.status == Status.AWAITING_STOCK_RESERVATION

    def execute(self, *, actor: str) -> object:
        order_ids = [order.pk for order in self.rows]
        return retry_reservations(order_ids, actor=actor, reason=self.cleaned_data["reason"])


class ChangedLineForm(forms.Form):
    """One line of the changed order. A line without quantity is removed."""

    product = forms.ModelChoiceField(
        Product.objects.all(),
        required=False,
        widget=TolerantSelect(SalesOrderLine._meta.get_field("product"), admin.site),
    )
    quantity = forms.IntegerField(
        required=False, min_value=0, max_value=MAX_QUANTITY, widget=AdminIntegerFieldWidget
    )

    def clean(self) -> None:
        # An invalid product is not in `cleaned_data`; it has its own error.
        product_is_empty = "product" in self.cleaned_data and not self.cleaned_data["product"]
        if product_is_empty and self.cleaned_data.get("quantity"):
            self.add_error("product", "Select a product for this quantity.")


ChangedLineFormSet = forms.formset_factory(ChangedLineForm, extra=3)


class ChangeLines(ReasonActionForm[SalesOrder]):
    """Sends the revision that the user saw, so that no concurrent change is overwritten."""

    label, success_verb, log_entry = "Change lines", "Changed lines of", "Changed lines"
    headings = ["Product", "Quantity (0 removes the line)"]
    revision = forms.IntegerField(widget=forms.HiddenInput)

    @classmethod
    def is_available_for(cls, row: SalesOrder) -> bool:
        return row.status not in CLOSED_STATUSES

    def __init__(self, rows: Sequence[SalesOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self.initial["revision"] = self._order.order_status.revision
        lines = [
            {"product": line.product_id, "quantity": line.quantity}
            for line in self._order.product_quantities()
        ]
        # Submitted lines replace all lines, so they are not compared with initial values.
        self._lines = ChangedLineFormSet(data, initial=None if data else lines, prefix="lines")
        self.parts = [self._lines]

    def table(self) -> Iterable[Sequence[object]]:
        return [(form["product"], form["quantity"]) for form in self._lines.forms]

    def execute(self, *, actor: str) -> object:
        return change_order(
            self._order.pk,
            self._changed_lines(),
            actor=actor,
            reason=self.cleaned_data["reason"],
            revision=self.cleaned_data["revision"],
        )

    def _changed_lines(self) -> list[ProductQuantity]:
        lines = [form.cleaned_data for form in self._lines.forms]
        return [
            ProductQuantity(product_id=line["product"].pk, quantity=line["quantity"])
            for line in lines
            if line.get("product") and line.get("quantity")
        ]
