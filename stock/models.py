import uuid
from collections.abc import Mapping
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Case, F, OuterRef, Q, Subquery, Sum, Value, When, Window
from django.db.models.functions import Coalesce

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.reasons import REASON_LENGTH


class BalanceQuerySet(models.QuerySet["Balance"]):
    def locked(self) -> Self:
        """Locked in the one order that everybody keeps to: balances by product, before reservations by id."""
        return self.select_for_update(no_key=True).order_by("product_id")

    def with_waiting(self) -> Self:
        """With `waiting`: what those in line for the product still lack of it."""
        lines = ReservationLine.objects.that_wait().filter(product=OuterRef("product"))
        lacking = lines.order_by().values("product").annotate(total=Sum(F("quantity") - F("held"))).values("total")
        return self.annotate(waiting=Coalesce(Subquery(lacking), 0))


class Balance(models.Model):
    """What lies on the shelf of one product, and how much of it is promised."""

    product = models.OneToOneField(Product, on_delete=models.PROTECT, primary_key=True, related_name="balance")
    on_hand = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    objects = BalanceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(reserved__gte=0), name="reserved_is_never_negative"),
            models.CheckConstraint(condition=Q(reserved__lte=F("on_hand")), name="reserved_never_exceeds_on_hand"),
        ]

    def __str__(self) -> str:
        return f"{self.on_hand} on hand, {self.reserved} reserved"

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    def change(self, quantity: int) -> None:
        self.on_hand += quantity

    def promise(self, quantity: int) -> None:
        self.reserved += quantity

    def release(self, quantity: int) -> None:
        self.reserved -= quantity

    def ship(self, quantity: int) -> None:
        self.on_hand -= quantity
        self.reserved -= quantity


class ReservationStatus(models.TextChoices):
    WAITING = "waiting"
    ACCEPTED = "accepted"
    SHIPPED = "shipped"
    RELEASED = "released"


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def locked(self) -> Self:
        """Locked in the one order that everybody keeps to, after the balances."""
        return self.select_for_update(no_key=True).order_by("id")

    def waiting(self) -> Self:
        return self.filter(status=ReservationStatus.WAITING)


class Reservation(models.Model):
    """What Stock promises to one sales order. Its id is the sales order's."""

    id = models.UUIDField(primary_key=True)
    status = models.CharField(max_length=10, choices=ReservationStatus, default=ReservationStatus.WAITING)
    revision = models.PositiveIntegerField()
    request = models.PositiveIntegerField(help_text="The latest question that was answered.")
    priority = models.IntegerField()
    placed_at = models.DateTimeField()

    objects = ReservationQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["id"], condition=Q(status=ReservationStatus.WAITING), name="reservation_that_waits")]

    def __str__(self) -> str:
        return f"Reservation {self.id}"


class ReservationLineQuerySet(models.QuerySet["ReservationLine"]):
    def that_wait(self) -> Self:
        return self.filter(reservation__status=ReservationStatus.WAITING, held__lt=F("quantity"))

    def reached_by(self, quantities: Mapping[UUID, int]) -> models.QuerySet["ReservationLine", UUID]:
        """The reservations that are served, by their place in line, until so much of each product is dealt out.

        However long the line is, nobody else needs to be read, or locked.
        """
        lacking = F("quantity") - F("held")
        place = F("reservation__priority").desc(), F("reservation__placed_at").asc(), F("reservation_id").asc()
        before = Window(Sum(lacking), partition_by="product", order_by=place) - lacking
        reach = Case(*(When(product=each, then=Value(quantity)) for each, quantity in quantities.items()))
        rows = self.filter(product__in=quantities).annotate(before=before, reach=reach).filter(before__lt=F("reach"))
        return rows.values_list("reservation_id", flat=True)


class ReservationLine(models.Model):
    reservation = models.ForeignKey(Reservation, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    held = models.PositiveIntegerField(default=0, help_text="How much of it is, or was until it was shipped, promised.")

    objects = ReservationLineQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["reservation", "product"], name="a_reservation_names_a_product_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=LARGEST_QUANTITY), name="reservation_quantity_in_range"
            ),
            models.CheckConstraint(condition=Q(held__lte=F("quantity")), name="never_held_more_than_was_asked_for"),
        ]
        indexes = [models.Index(fields=["product"], condition=Q(held__lt=F("quantity")), name="reservation_line_not_full")]

    def __str__(self) -> str:
        return f"{self.held} of {self.quantity} × {self.product}"

    @property
    def missing(self) -> int:
        return self.quantity - self.held


class Movement(models.TextChoices):
    RECEIVED = "received"
    ADJUSTED = "adjusted"
    REVERSED = "reversed"
    PROMISED = "promised"
    RELEASED = "released"
    SHIPPED = "shipped"


class StockMovement(models.Model):
    """The append-only ledger: one row for each change of a balance. Both its numbers can be rebuilt from these rows."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="movements")
    kind = models.CharField(max_length=10, choices=Movement)
    on_hand = models.BigIntegerField(help_text="By how much on hand changed.")
    reserved = models.BigIntegerField(help_text="By how much reserved changed.")
    document = models.UUIDField(
        default=uuid.uuid4,
        db_index=True,
        help_text="The receipt, the adjustment, the reversal, or the reservation that it is about.",
    )
    corrects = models.UUIDField(
        null=True, blank=True, db_index=True, editable=False, help_text="Of a reversal: the receipt that was counted wrongly."
    )
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    message_id = models.BigIntegerField(null=True, blank=True, help_text="The message that caused it.")
    by = models.CharField(max_length=150, blank=True, help_text="The person who caused it.")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["document", "product"], condition=Q(kind=Movement.RECEIVED), name="a_receipt_is_booked_once"
            ),
            models.UniqueConstraint(
                fields=["document"], condition=Q(kind=Movement.ADJUSTED), name="an_adjustment_is_booked_once"
            ),
            models.UniqueConstraint(
                fields=["document", "product"], condition=Q(kind=Movement.SHIPPED), name="a_reservation_is_shipped_once"
            ),
            models.UniqueConstraint(fields=["document"], condition=Q(kind=Movement.REVERSED), name="a_reversal_is_booked_once"),
            models.CheckConstraint(
                condition=Q(kind=Movement.REVERSED, corrects__isnull=False)
                | (~Q(kind=Movement.REVERSED) & Q(corrects__isnull=True)),
                name="only_a_reversal_corrects_a_receipt",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.product}: on hand {self.on_hand:+}, reserved {self.reserved:+}"


class StockAdjustment(StockMovement):
    """The movements that a person made."""

    class Meta:
        proxy = True


class ReceiptReversal(StockMovement):
    """The movements that take back what was counted wrongly when goods arrived."""

    class Meta:
        proxy = True
