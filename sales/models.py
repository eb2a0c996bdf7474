"""The tables of Sales: sales orders, the durable state of their processes, and the history."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.core.quantities import MAX_QUANTITY, ProductQuantity
from orderflow.core.reasons import MAX_REASON_LENGTH
from sales.process_manager import CLOSED_STATUSES, STORED_STATUSES, Status


class DeliveryMode(models.TextChoices):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class SalesOrder(models.Model):
    """A customer's order. Only its lines can change; `OrderStatus` stores its process."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=100, unique=True)
    customer = models.CharField(max_length=200, blank=True)
    priority = models.IntegerField(default=0, help_text="Higher values are allocated first.")
    delivery_mode = models.CharField(
        max_length=10,
        choices=DeliveryMode,
        default=DeliveryMode.AUTOMATIC,
        help_text="Automatic: delivered when fully reserved. Manual: a user delivers.",
    )
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        permissions = [("deliver_salesorder", "Can deliver sales order")]

    def __str__(self) -> str:
        return self.reference

    @property
    def status(self) -> Status:
        return Status(self.order_status.status)

    def product_quantities(self) -> tuple[ProductQuantity, ...]:
        """Return the lines as values, for rules and messages."""
        return tuple(
            ProductQuantity(product_id=line.product_id, quantity=line.quantity)
            for line in self.lines.all()
        )


class SalesOrderLine(models.Model):
    order = models.ForeignKey(SalesOrder, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "product"], name="sales_order_line_unique_product"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="sales_order_line_quantity_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class OrderStatusQuerySet(models.QuerySet["OrderStatus"]):
    def locked(self) -> Self:
        """Lock the rows by sales order id, and join their sales orders.

        All code locks in this order, so that transactions cannot deadlock. After waiting for a
        lock, PostgreSQL reads the locked row again, but not the joined one. So every value that
        can change is a column of `OrderStatus`.
        """
        rows = self.select_related("order").select_for_update(no_key=True, of=("self",))
        return rows.order_by("order_id")


class OrderStatus(models.Model):
    """The stored process of one sales order."""

    order = models.OneToOneField(
        SalesOrder, on_delete=models.CASCADE, primary_key=True, related_name="order_status"
    )
    status = models.CharField(
        max_length=30, choices=[(status.value, status.label) for status in STORED_STATUSES]
    )
    status_changed_at = models.DateTimeField(help_text="When the order entered its status.")
    updated_at = models.DateTimeField(db_index=True, help_text="When this row last changed.")
    revision = models.PositiveIntegerField(
        default=1, help_text="Version of the lines; starts at 1."
    )
    request_number = models.PositiveIntegerField(
        default=0, help_text="Number of the latest reservation request."
    )
    purchase_order_id = models.UUIDField(
        null=True,
        blank=True,
        unique=True,
        help_text="The awaited purchase order; the latest if there are several.",
    )
    purchase_count = models.PositiveSmallIntegerField(
        default=0, help_text="Purchase orders created since the last user decision."
    )
    needs_attention = models.BooleanField(
        default=False, help_text="The purchase limit is reached; a user must decide."
    )
    overdue = models.BooleanField(
        default=False, help_text="The status limit is exceeded, or awaited goods are overdue."
    )

    objects = OrderStatusQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "order statuses"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status=Status.AWAITING_GOODS_RECEIVED.value, purchase_order_id__isnull=False
                )
                | (
                    ~Q(status=Status.AWAITING_GOODS_RECEIVED.value)
                    & Q(purchase_order_id__isnull=True)
                ),
                name="order_status_purchase_order_iff_awaiting_goods",
            ),
            models.CheckConstraint(
                condition=Q(needs_attention=False)
                | Q(status=Status.AWAITING_STOCK_RESERVATION.value),
                name="order_status_attention_only_awaiting_reservation",
            ),
            models.CheckConstraint(
                condition=Q(overdue=False)
                | ~Q(status__in=[status.value for status in CLOSED_STATUSES]),
                name="order_status_closed_not_overdue",
            ),
        ]
        indexes = [
            models.Index(
                fields=["status", "status_changed_at"], name="order_status_changed_at_idx"
            )
        ]

    def __str__(self) -> str:
        return f"{self.order}: {Status(self.status).text}"


class LinkedPurchaseOrder(models.Model):
    """A purchase order that the process manager requested for one sales order."""

    purchase_order_id = models.UUIDField(primary_key=True)
    order_status = models.ForeignKey(
        OrderStatus, on_delete=models.CASCADE, related_name="linked_purchase_orders"
    )
    request_number = models.PositiveIntegerField(
        help_text="Number of the reservation request that was rejected."
    )
    ordered_at = models.DateTimeField()
    overdue = models.BooleanField(
        default=False, help_text="Its expected date passed while the sales order awaited goods."
    )
    closed_by_message_id = models.BigIntegerField(
        null=True, blank=True, help_text="The message that closed it; empty while it is open."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["order_status", "request_number"],
                name="linked_purchase_order_unique_request_number",
            ),
        ]

    def __str__(self) -> str:
        return f"Purchase order {self.purchase_order_id} for {self.order_status_id}"


class LinkedPurchaseOrderLine(models.Model):
    """The quantity of one product that a linked purchase order covers."""

    linked_purchase_order = models.ForeignKey(
        LinkedPurchaseOrder, on_delete=models.CASCADE, related_name="lines"
    )
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["linked_purchase_order", "product"],
                name="linked_purchase_order_line_unique_product",
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="linked_purchase_order_line_quantity_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class OrderStatusChange(models.Model):
    """A status that a sales order entered; it can be the same status again."""

    order_status = models.ForeignKey(OrderStatus, on_delete=models.CASCADE, related_name="changes")
    from_status = models.CharField(max_length=30)
    to_status = models.CharField(max_length=30)
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

    def __str__(self) -> str:
        return f"{Status(self.from_status).text} → {Status(self.to_status).text}"
