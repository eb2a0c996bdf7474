import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY
from sales.process_manager import AG, State


class DeliveryChoice(models.TextChoices):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class SalesOrder(models.Model):
    """What a customer ordered. How far it is, its `OrderStatus` knows."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=100, unique=True)
    customer = models.CharField(max_length=200, blank=True)
    priority = models.IntegerField(default=0, help_text="Higher is served first when goods arrive.")
    delivery = models.CharField(max_length=10, choices=DeliveryChoice, default=DeliveryChoice.AUTOMATIC)
    revision = models.PositiveIntegerField(default=1, editable=False)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.reference


class SalesOrderLine(models.Model):
    order = models.ForeignKey(SalesOrder, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["order", "product"], name="a_sales_order_names_a_product_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=LARGEST_QUANTITY), name="sales_order_line_quantity_in_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class OrderStatusQuerySet(models.QuerySet["OrderStatus"]):
    def locked(self) -> Self:
        """Locked in the one order that everybody keeps to."""
        return self.select_for_update(no_key=True, of=("self",)).order_by("order_id")


class OrderStatus(models.Model):
    """The durable state of the process of one sales order: what the process manager remembers between two messages."""

    order = models.OneToOneField(SalesOrder, on_delete=models.CASCADE, primary_key=True, related_name="status")
    state = models.CharField(
        max_length=30, choices=[(state.value, state.value.replace("_", " ")) for state in State if state != State.NEW]
    )
    since = models.DateTimeField(help_text="When it entered this state.")
    request = models.PositiveIntegerField(default=0, help_text="The number of the latest question to Stock.")
    purchase_order_id = models.UUIDField(
        null=True, blank=True, unique=True, help_text="The purchase order whose goods it waits for."
    )

    objects = OrderStatusQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "order statuses"
        constraints = [
            models.CheckConstraint(
                condition=Q(state=AG.value, purchase_order_id__isnull=False)
                | (~Q(state=AG.value) & Q(purchase_order_id__isnull=True)),
                name="only_who_awaits_goods_waits_for_a_purchase_order",
            ),
        ]
        indexes = [models.Index(fields=["state", "since"], name="order_status_by_state")]

    def __str__(self) -> str:
        return f"{self.order}: {self.state}"


class OrderPurchase(models.Model):
    """A purchase order that the process of a sales order had made, and what closed it."""

    purchase_order_id = models.UUIDField(primary_key=True)
    status = models.ForeignKey(OrderStatus, on_delete=models.CASCADE, related_name="purchases")
    ordered_at = models.DateTimeField()
    closed_by = models.BigIntegerField(null=True, blank=True, help_text="The id of the message that closed it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["status"], condition=Q(closed_by__isnull=True), name="never_bought_twice_for_the_same_shortage"
            ),
        ]

    def __str__(self) -> str:
        return f"Purchase order {self.purchase_order_id} for {self.status_id}"


class OrderStatusChange(models.Model):
    """One change of state: history, dwell times and the process map come from these rows."""

    status = models.ForeignKey(OrderStatus, on_delete=models.CASCADE, related_name="changes")
    from_state = models.CharField(max_length=30)
    to_state = models.CharField(max_length=30)
    message_id = models.BigIntegerField(null=True, blank=True, help_text="The message that caused it.")
    by = models.CharField(max_length=150, blank=True, help_text="The person who caused it.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"
