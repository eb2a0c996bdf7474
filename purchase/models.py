import uuid
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.reasons import REASON_LENGTH
from purchase.receiving import Status

STILL_TO_COME = [Status.OPEN.value, Status.PARTIALLY_RECEIVED.value]


class PurchaseOrderQuerySet(models.QuerySet["PurchaseOrder"]):
    def locked(self) -> Self:
        """Locked in the one order that everybody keeps to."""
        return self.select_for_update(no_key=True).order_by("id")

    def open(self) -> Self:
        return self.filter(status__in=STILL_TO_COME)


class PurchaseOrder(models.Model):
    """An order to a supplier. Whoever creates it may supply its id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=100, unique=True)
    status = models.CharField(
        max_length=20,
        choices=[(status.value, status.value.replace("_", " ")) for status in Status],
        default=Status.OPEN,
        db_index=True,
        editable=False,
    )
    ordered_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)
    expected_at = models.DateTimeField(help_text="When its goods should be here.")
    overdue = models.BooleanField(default=False, editable=False, help_text="They should be here, and are not.")
    given_up = models.BooleanField(default=False, editable=False, help_text="Whoever had it ordered does not need it any more.")
    by = models.CharField(max_length=150, blank=True, editable=False, help_text="The person who ordered it, if one did.")
    elsewhere = models.BooleanField(
        default=False, editable=False, help_text="Another system orders and receives it; here it is only known."
    )
    receipt_count = models.PositiveIntegerField(default=0, editable=False, help_text="The number of its latest receipt.")

    objects = PurchaseOrderQuerySet.as_manager()

    class Meta:
        permissions = [("receive_purchaseorder", "Can receive purchase order")]
        constraints = [
            models.CheckConstraint(
                condition=Q(overdue=False) | Q(status__in=STILL_TO_COME), name="only_what_is_still_to_come_is_overdue"
            ),
            models.CheckConstraint(
                condition=Q(given_up=False) | ~Q(status=Status.OPEN), name="what_nobody_needs_is_not_open_untouched"
            ),
        ]
        indexes = [
            models.Index(
                fields=["expected_at"], condition=Q(status__in=STILL_TO_COME, overdue=False), name="purchase_order_expected"
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class PurchaseOrderLine(models.Model):
    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    received = models.PositiveIntegerField(default=0, editable=False)
    bought_for = models.UUIDField(null=True, blank=True, editable=False, help_text="The peg: handed on, not read.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "product", "bought_for"], name="a_purchase_order_names_a_pegged_product_once"
            ),
            models.UniqueConstraint(
                fields=["order", "product"],
                condition=Q(bought_for__isnull=True),
                name="a_purchase_order_names_a_product_once",
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=LARGEST_QUANTITY), name="purchase_order_quantity_in_range"
            ),
            models.CheckConstraint(condition=Q(received__lte=2 * F("quantity")), name="never_received_beyond_any_tolerance"),
        ]

    def __str__(self) -> str:
        return f"{self.received} of {self.quantity} × {self.product}"


class Receipt(models.Model):
    """Goods arrived for a purchase order: all of it, or a part."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="receipts")
    number = models.PositiveIntegerField(help_text="Within the purchase order: 1 for the first.")
    by = models.CharField(max_length=150, blank=True, help_text="The person who reported it.")
    reason = models.CharField(max_length=REASON_LENGTH, blank=True, help_text="What that person said about it.")
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "number"], name="a_receipt_has_a_number_of_its_own")]

    def __str__(self) -> str:
        return f"Receipt {self.id} of {self.order}"


class ReceiptLine(models.Model):
    receipt = models.ForeignKey(Receipt, on_delete=models.CASCADE, related_name="lines")
    line = models.ForeignKey(PurchaseOrderLine, on_delete=models.CASCADE, related_name="receipts")
    quantity = models.PositiveIntegerField()
    reversed = models.PositiveIntegerField(default=0, help_text="How much of it had been counted wrongly.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["receipt", "line"], name="a_receipt_names_a_line_once"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="a_receipt_line_is_not_empty"),
            models.CheckConstraint(condition=Q(reversed__lte=F("quantity")), name="never_reversed_more_than_received"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.line}"


class RemoteReceipt(models.Model):
    """What another system says about a purchase order that is kept there; booked once all that came before it is.

    Number 3 may be told before number 2: then it waits here. Append-only: it is also the memory of what was told already.
    """

    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="remote_receipts")
    number = models.PositiveIntegerField(help_text="Within the purchase order: 1 for the first.")
    receipt_id = models.UUIDField(help_text="The receipt's id, there and here.")
    complete = models.BooleanField(help_text="Nothing more will come.")
    booked = models.BooleanField(default=False)
    by = models.CharField(max_length=150, help_text="The user under whose name it was told.")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "number"], name="a_remote_receipt_is_told_once")]

    def __str__(self) -> str:
        return f"Number {self.number} of {self.order}"


class RemoteReceiptLine(models.Model):
    remote_receipt = models.ForeignKey(RemoteReceipt, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["remote_receipt", "product"], name="a_remote_receipt_names_a_product_once"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="a_remote_receipt_line_is_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class PurchaseOrderChange(models.Model):
    """What somebody decided about a purchase order: to cancel it, to close it short, to expect it on another day …"""

    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="changes")
    from_status = models.CharField(max_length=20)
    to_status = models.CharField(max_length=20)
    what = models.CharField(max_length=200)
    message_id = models.BigIntegerField(null=True, blank=True, help_text="The message that caused it.")
    by = models.CharField(max_length=150, blank=True, help_text="The person who caused it.")
    reason = models.CharField(max_length=REASON_LENGTH, blank=True, help_text="Why that person did.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.what
