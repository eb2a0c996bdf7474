"""The tables of Stock: stock levels, reservations, and the stock ledger."""

import uuid
from collections.abc import Mapping
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Case, F, OuterRef, Q, Subquery, Sum, Value, When, Window
from django.db.models.functions import Coalesce

from orderflow.catalog.models import Product
from orderflow.core.quantities import MAX_QUANTITY
from orderflow.core.reasons import MAX_REASON_LENGTH


class StockLevelQuerySet(models.QuerySet["StockLevel"]):
    def locked(self) -> Self:
        """Lock the rows by product id.

        All code locks in this order, and stock levels before reservations, so that transactions
        cannot deadlock.
        """
        return self.select_for_update(no_key=True).order_by("product_id")

    def with_backordered(self) -> Self:
        """Add `backordered`: the sum of the shortages of the product's backordered lines."""
        lines = ReservationLine.objects.backordered().filter(product=OuterRef("product"))
        shortages = lines.order_by().values("product")
        total = shortages.annotate(total=Sum(F("quantity") - F("reserved"))).values("total")
        return self.annotate(backordered=Coalesce(Subquery(total), 0))


class StockLevel(models.Model):
    """The quantity of one product on hand, and how much of it is reserved."""

    product = models.OneToOneField(
        Product, on_delete=models.PROTECT, primary_key=True, related_name="stock_level"
    )
    on_hand = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    objects = StockLevelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved__gte=0), name="stock_level_reserved_gte_0"
            ),
            models.CheckConstraint(
                condition=Q(reserved__lte=F("on_hand")), name="stock_level_reserved_lte_on_hand"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.on_hand} on hand, {self.reserved} reserved"

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    def change_on_hand(self, quantity: int) -> None:
        self.on_hand += quantity

    def reserve(self, quantity: int) -> None:
        self.reserved += quantity

    def release(self, quantity: int) -> None:
        self.reserved -= quantity

    def ship(self, quantity: int) -> None:
        self.on_hand -= quantity
        self.reserved -= quantity


class ReservationStatus(models.TextChoices):
    BACKORDERED = "backordered"
    ACCEPTED = "accepted"
    SHIPPED = "shipped"
    RELEASED = "released"


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def locked(self) -> Self:
        """Lock the rows by id, after the stock levels."""
        return self.select_for_update(no_key=True).order_by("id")

    def backordered(self) -> Self:
        return self.filter(status=ReservationStatus.BACKORDERED)


class Reservation(models.Model):
    """The reservation of one sales order, with the same id."""

    id = models.UUIDField(primary_key=True)
    status = models.CharField(
        max_length=11, choices=ReservationStatus, default=ReservationStatus.BACKORDERED
    )
    revision = models.PositiveIntegerField()
    request_number = models.PositiveIntegerField(
        help_text="Number of the latest request that was answered."
    )
    priority = models.IntegerField()
    placed_at = models.DateTimeField()

    objects = ReservationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(status=ReservationStatus.BACKORDERED),
                name="reservation_backordered_idx",
            )
        ]

    def __str__(self) -> str:
        return f"Reservation {self.id}"


class ReservationLineQuerySet(models.QuerySet["ReservationLine"]):
    def backordered(self) -> Self:
        return self.filter(
            reservation__status=ReservationStatus.BACKORDERED, reserved__lt=F("quantity")
        )

    def reservation_ids_to_allocate(
        self, quantities: Mapping[UUID, int]
    ) -> models.QuerySet["ReservationLine", UUID]:
        """Return the ids of the reservations that get a share of these quantities, by product.

        A reservation gets a share if the sum of the shortages before it in the backorder queue is
        smaller than the quantity. So reservations further back need not be read or locked.
        """
        shortage = F("quantity") - F("reserved")
        queue_position = (
            F("reservation__priority").desc(),
            F("reservation__placed_at").asc(),
            F("reservation_id").asc(),
        )
        running_total = Window(Sum(shortage), partition_by="product", order_by=queue_position)
        quantity_to_allocate = Case(
            *(
                When(product=product_id, then=Value(quantity))
                for product_id, quantity in quantities.items()
            )
        )
        rows = self.filter(product__in=quantities).annotate(
            shortage_before=running_total - shortage, quantity_to_allocate=quantity_to_allocate
        )
        first_in_queue = rows.filter(shortage_before__lt=F("quantity_to_allocate"))
        return first_in_queue.values_list("reservation_id", flat=True)


class ReservationLine(models.Model):
    reservation = models.ForeignKey(Reservation, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    reserved = models.PositiveIntegerField(
        default=0, help_text="Reserved quantity; unchanged after shipping."
    )

    objects = ReservationLineQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["reservation", "product"], name="reservation_line_unique_product"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="reservation_line_quantity_in_range",
            ),
            models.CheckConstraint(
                condition=Q(reserved__lte=F("quantity")),
                name="reservation_line_reserved_lte_quantity",
            ),
        ]
        indexes = [
            models.Index(
                fields=["product"],
                condition=Q(reserved__lt=F("quantity")),
                name="reservation_line_shortage_idx",
            )
        ]

    def __str__(self) -> str:
        return f"{self.reserved} of {self.quantity} × {self.product}"

    @property
    def shortage(self) -> int:
        return self.quantity - self.reserved


class MovementType(models.TextChoices):
    RECEIVED = "received"
    ADJUSTED = "adjusted"
    REVERSED = "reversed"
    RESERVED = "reserved"
    RELEASED = "released"
    SHIPPED = "shipped"


class StockMovement(models.Model):
    """One row of the append-only stock ledger: one change of a stock level.

    Every stock level can be rebuilt from these rows.
    """

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="movements")
    movement_type = models.CharField(max_length=10, choices=MovementType)
    on_hand = models.BigIntegerField(help_text="Change of on hand.")
    reserved = models.BigIntegerField(help_text="Change of reserved.")
    source_document_id = models.UUIDField(
        default=uuid.uuid4,
        db_index=True,
        help_text="Id of the receipt, adjustment, reversal or reservation.",
    )
    reversed_receipt_id = models.UUIDField(
        null=True,
        blank=True,
        db_index=True,
        editable=False,
        help_text="For a reversal: the receipt whose quantity was reversed.",
    )
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    message_id = models.BigIntegerField(
        null=True, blank=True, help_text="The message that caused it."
    )
    actor = models.CharField(
        max_length=150, blank=True, help_text="The user or command that caused it."
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source_document_id", "product"],
                condition=Q(movement_type=MovementType.RECEIVED),
                name="stock_movement_unique_receipt_product",
            ),
            models.UniqueConstraint(
                fields=["source_document_id"],
                condition=Q(movement_type=MovementType.ADJUSTED),
                name="stock_movement_unique_adjustment",
            ),
            models.UniqueConstraint(
                fields=["source_document_id", "product"],
                condition=Q(movement_type=MovementType.SHIPPED),
                name="stock_movement_unique_shipment_product",
            ),
            models.UniqueConstraint(
                fields=["source_document_id"],
                condition=Q(movement_type=MovementType.REVERSED),
                name="stock_movement_unique_reversal",
            ),
            models.CheckConstraint(
                condition=Q(movement_type=MovementType.REVERSED, reversed_receipt_id__isnull=False)
                | (~Q(movement_type=MovementType.REVERSED) & Q(reversed_receipt_id__isnull=True)),
                name="stock_movement_reversed_receipt_iff_reversal",
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.movement_type} {self.product}: "
            f"on hand {self.on_hand:+}, reserved {self.reserved:+}"
        )


class StockAdjustment(StockMovement):
    """A stock movement by which a user corrected on hand. `objects` returns all movements."""

    class Meta:
        proxy = True


class ReceiptReversal(StockMovement):
    """A stock movement that reverses a received quantity. `objects` returns all movements."""

    class Meta:
        proxy = True
