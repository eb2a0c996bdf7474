"""The tables of Purchase: purchase orders, receipts, external receipts, and the history."""

import uuid
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.core.quantities import MAX_QUANTITY
from orderflow.core.reasons import MAX_REASON_LENGTH
from purchase.lifecycle import OPEN_STATUSES, Status

_OPEN = [status.value for status in OPEN_STATUSES]


class PurchaseOrderQuerySet(models.QuerySet["PurchaseOrder"]):
    def locked(self) -> Self:
        """Lock the rows by id.

        All code locks in this order, so that transactions cannot deadlock.
        """
        return self.select_for_update(no_key=True).order_by("id")

    def open(self) -> Self:
        return self.filter(status__in=_OPEN)


class PurchaseOrder(models.Model):
    """A request to a supplier for quantities of products."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=100, unique=True)
    status = models.CharField(
        max_length=20,
        choices=[(status.value, status.label) for status in Status],
        default=Status.OPEN,
        db_index=True,
        editable=False,
    )
    ordered_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)
    expected_at = models.DateTimeField(help_text="When the goods should arrive.")
    overdue = models.BooleanField(
        default=False, editable=False, help_text="The expected date has passed."
    )
    withdrawn = models.BooleanField(
        default=False, editable=False, help_text="Sales no longer needs this purchase order."
    )
    actor = models.CharField(
        max_length=150,
        blank=True,
        editable=False,
        help_text="The user who created it; empty if Sales requested it.",
    )
    external = models.BooleanField(
        default=False, editable=False, help_text="Managed by an external system."
    )
    last_sequence_number = models.PositiveIntegerField(
        default=0, editable=False, help_text="Sequence number of the latest receipt."
    )

    objects = PurchaseOrderQuerySet.as_manager()

    class Meta:
        permissions = [("receive_purchaseorder", "Can receive purchase order")]
        constraints = [
            models.CheckConstraint(
                condition=Q(overdue=False) | Q(status__in=_OPEN),
                name="purchase_order_overdue_only_if_open",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn=False) | ~Q(status=Status.OPEN),
                name="purchase_order_withdrawn_not_open",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expected_at"],
                condition=Q(status__in=_OPEN, overdue=False),
                name="purchase_order_expected_at_idx",
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class PurchaseOrderLine(models.Model):
    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    received = models.PositiveIntegerField(default=0, editable=False)
    pegged_to = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="The reservation that this quantity is pegged to.",
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "product", "pegged_to"],
                name="purchase_order_line_unique_pegged_product",
            ),
            models.UniqueConstraint(
                fields=["order", "product"],
                condition=Q(pegged_to__isnull=True),
                name="purchase_order_line_unique_unpegged_product",
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="purchase_order_line_quantity_in_range",
            ),
            models.CheckConstraint(
                condition=Q(received__lte=2 * F("quantity")),
                name="purchase_order_line_received_lte_double",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.received} of {self.quantity} × {self.product}"


class Receipt(models.Model):
    """One arrival of goods for a purchase order."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="receipts")
    sequence_number = models.PositiveIntegerField(
        help_text="Number within the purchase order; 1 for the first receipt."
    )
    actor = models.CharField(
        max_length=150, blank=True, help_text="The user or command that recorded it."
    )
    reason = models.CharField(
        max_length=MAX_REASON_LENGTH, blank=True, help_text="The reason that the actor gave."
    )
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["order", "sequence_number"], name="receipt_unique_sequence_number"
            )
        ]

    def __str__(self) -> str:
        return f"Receipt {self.id} of {self.order}"


class ReceiptLine(models.Model):
    receipt = models.ForeignKey(Receipt, on_delete=models.CASCADE, related_name="lines")
    line = models.ForeignKey(PurchaseOrderLine, on_delete=models.CASCADE, related_name="receipts")
    quantity = models.PositiveIntegerField()
    reversed = models.PositiveIntegerField(default=0, help_text="Reversed part of the quantity.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["receipt", "line"], name="receipt_line_unique_line"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1), name="receipt_line_quantity_gte_1"
            ),
            models.CheckConstraint(
                condition=Q(reversed__lte=F("quantity")), name="receipt_line_reversed_lte_quantity"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.line}"


class ExternalReceipt(models.Model):
    """A receipt that an external system reported for an external purchase order.

    It is applied when every lower sequence number is applied; until then it is buffered. Rows are
    never deleted: they show which sequence numbers were reported before.
    """

    order = models.ForeignKey(
        PurchaseOrder, on_delete=models.CASCADE, related_name="external_receipts"
    )
    sequence_number = models.PositiveIntegerField(
        help_text="Number within the purchase order; 1 for the first receipt."
    )
    receipt_id = models.UUIDField(help_text="Id of the receipt in both systems.")
    final = models.BooleanField(help_text="No further goods will arrive.")
    applied = models.BooleanField(default=False)
    actor = models.CharField(max_length=150, help_text="The user who reported it.")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["order", "sequence_number"], name="external_receipt_unique_sequence_number"
            )
        ]

    def __str__(self) -> str:
        return f"External receipt {self.sequence_number} of {self.order}"


class ExternalReceiptLine(models.Model):
    external_receipt = models.ForeignKey(
        ExternalReceipt, on_delete=models.CASCADE, related_name="lines"
    )
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["external_receipt", "product"], name="external_receipt_line_unique_product"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1), name="external_receipt_line_quantity_gte_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class PurchaseOrderHistoryEntry(models.Model):
    """One decision about a purchase order, such as cancelling, closing short or rescheduling."""

    order = models.ForeignKey(PurchaseOrder, on_delete=models.CASCADE, related_name="history")
    from_status = models.CharField(max_length=20)
    to_status = models.CharField(max_length=20)
    description = models.CharField(max_length=200)
    message_id = models.BigIntegerField(
        null=True, blank=True, help_text="The message that caused it."
    )
    actor = models.CharField(
        max_length=150, blank=True, help_text="The user or command that caused it."
    )
    reason = models.CharField(
        max_length=MAX_REASON_LENGTH, blank=True, help_text="The reason that the actor gave."
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "purchase order history"

    def __str__(self) -> str:
        return self.description
