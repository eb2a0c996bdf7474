from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q


class StoredMessage(models.Model):
    """The append-only log of everything that was said."""

    type = models.CharField(max_length=100)
    key = models.UUIDField(db_index=True)
    payload = models.JSONField()
    caused_by = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class DeliveryState(models.TextChoices):
    WAITING = "waiting"  # to be handed over, now or when it is due
    DEAD = "dead"  # waits for a person
    DISCARDED = "discarded"  # a person decided that it is not to be handled


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def takeable(self, consumer: str, now: datetime) -> Self:
        """What `consumer` can take now: due, its key not held, in the order of publication."""
        mine = self.filter(consumer=consumer)
        # Held keys first, as an uncorrelated set: a NOT EXISTS for each row collapses on a backlog of thousands.
        held = mine.holding_their_key(now).values("key")
        return mine.waiting().filter(due_at__lte=now).exclude(key__in=held).order_by("id")

    def holding_their_key(self, now: datetime) -> Self:
        failed = Q(state=DeliveryState.WAITING, attempts__gt=0, due_at__gt=now)
        return self.filter(Q(state=DeliveryState.DEAD) | failed)

    def waiting(self) -> Self:
        return self.filter(state=DeliveryState.WAITING)

    def dead(self) -> Self:
        return self.filter(state=DeliveryState.DEAD)


class Delivery(models.Model):
    """One message on its way to one consumer; deleted in the transaction of the message's effects.

    A failed delivery (tried, and not due again yet; or dead) holds its key: what was published later about the same thing waits.
    A timer (published with a countdown) does not.
    """

    consumer = models.CharField(max_length=50)
    message = models.ForeignKey(StoredMessage, on_delete=models.PROTECT, db_index=False, related_name="deliveries")
    key = models.UUIDField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    last_error = models.TextField(blank=True)
    decision = models.TextField(blank=True, help_text="Who replayed or discarded the dead letter, when, and why.")

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["message", "consumer"], name="a_consumer_gets_a_message_once"),
        ]
        indexes = [
            models.Index(fields=["consumer", "id"], name="delivery_to_take", condition=Q(state=DeliveryState.WAITING)),
            models.Index(
                fields=["consumer", "key"],
                name="delivery_that_holds_its_key",
                condition=Q(state=DeliveryState.DEAD) | Q(state=DeliveryState.WAITING, attempts__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.message} to {self.consumer}"


class Consumer(models.Model):
    """The lock of one consumer, and its memory of drains that a crash cut off."""

    name = models.CharField(max_length=50, primary_key=True)
    unfinished = models.PositiveSmallIntegerField(default=0, help_text="Batches begun in a row and not finished.")

    def __str__(self) -> str:
        return self.name
