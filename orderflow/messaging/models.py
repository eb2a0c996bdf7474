"""The tables of messaging: stored messages, queued messages, consumers."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q


class StoredMessage(models.Model):
    """The append-only record of a published message."""

    type = models.CharField(max_length=100)
    key = models.UUIDField(db_index=True)
    payload = models.JSONField()
    caused_by = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="+",
    )
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "message"

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class QueuedMessageStatus(models.TextChoices):
    PENDING = "pending"  # to be handled, now or when it is due
    DEAD_LETTER = "dead_letter", "Dead letter"  # a user must replay or discard it
    DISCARDED = "discarded"  # a user decided that it is never handled


class QueuedMessageQuerySet(models.QuerySet["QueuedMessage"]):
    def due(self, consumer: str, now: datetime) -> Self:
        """Return what the consumer can handle now, in order: due, and the key not blocked."""
        queued = self.filter(consumer=consumer)
        # The blocked keys as an uncorrelated set: a NOT EXISTS for each row collapses with a
        # backlog of thousands.
        blocked_keys = queued.blocking(now).values("key")
        return (
            queued.pending().filter(due_at__lte=now).exclude(key__in=blocked_keys).order_by("id")
        )

    def blocking(self, now: datetime) -> Self:
        """Return the messages that block their key: dead letters, and failed ones not due yet."""
        failed = Q(status=QueuedMessageStatus.PENDING, attempts__gt=0, due_at__gt=now)
        return self.filter(Q(status=QueuedMessageStatus.DEAD_LETTER) | failed)

    def pending(self) -> Self:
        return self.filter(status=QueuedMessageStatus.PENDING)

    def dead_letters(self) -> Self:
        return self.filter(status=QueuedMessageStatus.DEAD_LETTER)


class QueuedMessage(models.Model):
    """One message waiting for one consumer; deleted in the transaction of its effects.

    A failed one blocks its key: later messages of the key wait. A scheduled one that is not due
    does not block.
    """

    consumer = models.CharField(max_length=50)
    message = models.ForeignKey(
        StoredMessage, on_delete=models.PROTECT, db_index=False, related_name="queued"
    )
    key = models.UUIDField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(
        max_length=11, choices=QueuedMessageStatus, default=QueuedMessageStatus.PENDING
    )
    last_error = models.TextField(blank=True)
    resolution_log = models.TextField(
        blank=True, help_text="Each replay and discard: actor, time and reason."
    )

    objects = QueuedMessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "consumer"], name="queued_message_unique_consumer"
            ),
        ]
        indexes = [
            models.Index(
                fields=["consumer", "id"],
                name="queued_message_pending_idx",
                condition=Q(status=QueuedMessageStatus.PENDING),
            ),
            models.Index(
                fields=["consumer", "key"],
                name="queued_message_blocking_idx",
                condition=Q(status=QueuedMessageStatus.DEAD_LETTER)
                | Q(status=QueuedMessageStatus.PENDING, attempts__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.message} to {self.consumer}"


class Consumer(models.Model):
    """The lock of one consumer, and the number of its batches that a crash cut off."""

    name = models.CharField(max_length=50, primary_key=True)
    unfinished_batches = models.PositiveSmallIntegerField(
        default=0, help_text="Batches in a row that began and did not finish."
    )

    def __str__(self) -> str:
        return self.name
