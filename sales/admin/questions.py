"""What people are asked before sales orders are cancelled, changed or tried again."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget

from orderflow.admin_tools.adding import TolerantSelect
from orderflow.admin_tools.asking import Question, ReasonQuestion
from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from sales.models import SalesOrder, SalesOrderLine
from sales.process_manager import State
from sales.services import cancel_orders, change_order, deliver_orders, try_again

ENDED = (State.DELIVERED, State.CANCELLED)


class DeliverOrders(Question[SalesOrder]):
    label, done, logged = "Deliver", "Delivered", "Delivered"
    needs = "deliver"

    @classmethod
    def makes_sense_for(cls, row: SalesOrder) -> bool:
        return row.status.state == State.DELIVERABLE

    def carry_out(self, *, by: str) -> object:
        return deliver_orders([order.pk for order in self.rows], by=by)


class CancelOrders(ReasonQuestion[SalesOrder]):
    label, done, logged = "Cancel", "Cancelled", "Cancelled"

    @classmethod
    def makes_sense_for(cls, row: SalesOrder) -> bool:
        return row.status.state not in ENDED

    def carry_out(self, *, by: str) -> object:
        return cancel_orders([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class TryAgain(ReasonQuestion[SalesOrder]):
    label, done, logged = "Try again", "Tried again for", "Tried again"

    @classmethod
    def makes_sense_for(cls, row: SalesOrder) -> bool:
        return row.status.state == State.AWAITING_STOCK_RESERVATION

    def carry_out(self, *, by: str) -> object:
        return try_again([order.pk for order in self.rows], by=by, reason=self.cleaned_data["reason"])


class WantedLine(forms.Form):
    """A product and how many are wanted from now on. Without a quantity it is not wanted."""

    product = forms.ModelChoiceField(
        Product.objects.all(),
        required=False,
        widget=TolerantSelect(SalesOrderLine._meta.get_field("product"), admin.site),
    )
    quantity = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_QUANTITY, widget=AdminIntegerFieldWidget)

    def clean(self) -> None:
        if self.cleaned_data.get("quantity") and "product" in self.cleaned_data and not self.cleaned_data["product"]:
            self.add_error("product", "Choose the product of which so many are wanted.")


WantedLines = forms.formset_factory(WantedLine, extra=3)


class ChangeLines(ReasonQuestion[SalesOrder]):
    """The revision that somebody looked at comes back with the answer: what was changed meanwhile is not overwritten."""

    label, done, logged = "Change the lines", "Changed the lines of", "Changed the lines"
    headings = ["Product", "Quantity (0: not wanted any more)"]
    revision = forms.IntegerField(widget=forms.HiddenInput)

    @classmethod
    def makes_sense_for(cls, row: SalesOrder) -> bool:
        return row.status.state not in ENDED

    def __init__(self, rows: Sequence[SalesOrder], data: Any = None) -> None:
        super().__init__(rows, data)
        [self._order] = rows
        self.initial["revision"] = self._order.status.revision
        ordered = [{"product": line.product_id, "quantity": line.quantity} for line in self._order.ordered()]
        self._lines = WantedLines(data, initial=None if data else ordered, prefix="lines")  # every line that comes back counts
        self.parts = [self._lines]

    def table(self) -> Iterable[Sequence[object]]:
        return [(form["product"], form["quantity"]) for form in self._lines.forms]

    def carry_out(self, *, by: str) -> object:
        given = [form.cleaned_data for form in self._lines.forms]
        wanted = [
            ProductQuantity(product_id=line["product"].pk, quantity=line["quantity"])
            for line in given
            if line.get("product") and line.get("quantity")
        ]
        return change_order(
            self._order.pk, wanted, by=by, reason=self.cleaned_data["reason"], revision=self.cleaned_data["revision"]
        )
