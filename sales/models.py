import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from orderflow.reasons import REASON_LENGTH
from sales.process_manager import AG, AS, CX, DD, State


class DeliveryChoice(models.TextChoices):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class SalesOrder(models.Model):
    """What a customer ordered. How far it is, its `OrderStatus` knows; apart from its lines nothing of it ever changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=100, unique=True)
    customer = models.CharField(max_length=200, blank=True)
    priority = models.IntegerField(default=0, help_text="Higher is served first when goods arrive.")
    delivery = models.CharField(max_length=10, choices=DeliveryChoice, default=DeliveryChoice.AUTOMATIC)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        permissions = [("deliver_salesorder", "Can deliver sales order")]

    def __str__(self) -> str:
        return self.reference

    def ordered(self) -> tuple[ProductQuantity, ...]:
        """Its lines, as rules and messages want them."""
        return tuple(ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in self.lines.all())


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
        """With their orders; locked in the one order that everybody keeps to.

        After a wait PostgreSQL reads a locked row again, but not what is joined to it: what may change stands in the status.
        """
        return self.select_related("order").select_for_update(no_key=True, of=("self",)).order_by("order_id")


class OrderStatus(models.Model):
    """The durable state of the process of one sales order: what the process manager remembers between two messages."""

    order = models.OneToOneField(SalesOrder, on_delete=models.CASCADE, primary_key=True, related_name="status")
    state = models.CharField(
        max_length=30, choices=[(state.value, state.value.replace("_", " ")) for state in State if state != State.NEW]
    )
    since = models.DateTimeField(help_text="When it entered this state.")
    updated_at = models.DateTimeField(db_index=True, help_text="When anything of it was last changed.")
    revision = models.PositiveIntegerField(default=1, help_text="Which version of the customer's wish: 1 until it is changed.")
    request = models.PositiveIntegerField(default=0, help_text="The number of the latest question to Stock.")
    purchase_order_id = models.UUIDField(
        null=True, blank=True, unique=True, help_text="The purchase order whose goods it waits for: of several, the latest."
    )
    times_bought = models.PositiveSmallIntegerField(
        default=0, help_text="How often it was bought for since a person last had a say."
    )
    needs_attention = models.BooleanField(default=False, help_text="It was bought in vain too often: a person has to decide.")
    overdue = models.BooleanField(
        default=False, help_text="It is in this state for longer than it should, or goods that it awaits are late."
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
            models.CheckConstraint(
                condition=Q(needs_attention=False) | Q(state=AS.value), name="only_who_awaits_stock_needs_attention"
            ),
            models.CheckConstraint(
                condition=Q(overdue=False) | ~Q(state__in=[DD.value, CX.value]), name="what_has_ended_is_not_overdue"
            ),
        ]
        indexes = [models.Index(fields=["state", "since"], name="order_status_by_state")]

    def __str__(self) -> str:
        return f"{self.order}: {self.state}"


class OrderPurchase(models.Model):
    """A purchase order that the process of a sales order had made, and what closed it."""

    purchase_order_id = models.UUIDField(primary_key=True)
    status = models.ForeignKey(OrderStatus, on_delete=models.CASCADE, related_name="purchases")
    request = models.PositiveIntegerField(help_text="The question to Stock whose answer named what was missing.")
    ordered_at = models.DateTimeField()
    late = models.BooleanField(default=False, help_text="It was expected earlier.")
    closed_by = models.BigIntegerField(null=True, blank=True, help_text="The id of the message that closed it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["status", "request"], name="never_bought_twice_for_the_same_shortage"),
        ]

    def __str__(self) -> str:
        return f"Purchase order {self.purchase_order_id} for {self.status_id}"


class OrderPurchaseLine(models.Model):
    """What was ordered with a purchase order, as the process remembers it: so much less is bought while it is open."""

    purchase = models.ForeignKey(OrderPurchase, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["purchase", "product"], name="an_order_purchase_names_a_product_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=LARGEST_QUANTITY), name="order_purchase_quantity_in_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class OrderStatusChange(models.Model):
    """One change of state: history, dwell times and the process map come from these rows."""

    status = models.ForeignKey(OrderStatus, on_delete=models.CASCADE, related_name="changes")
    from_state = models.CharField(max_length=30)
    to_state = models.CharField(max_length=30)
    message_id = models.BigIntegerField(null=True, blank=True, help_text="The message that caused it.")
    by = models.CharField(max_length=150, blank=True, help_text="The person who caused it.")
    reason = models.CharField(max_length=REASON_LENGTH, blank=True, help_text="Why that person did.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"
