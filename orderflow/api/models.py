"""The table of idempotency records."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

RETENTION = timedelta(hours=24)


class IdempotencyRecordQuerySet(models.QuerySet["IdempotencyRecord"]):
    def expired(self) -> Self:
        return self.filter(created_at__lt=timezone.now() - RETENTION)


class IdempotencyRecord(models.Model):
    """The response that was stored for an idempotency key of a user."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Hash of the request's path and body.")
    http_status = models.PositiveSmallIntegerField(
        null=True, help_text="Empty only inside the transaction that handles the request."
    )
    media_type = models.CharField(max_length=100)
    body = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    objects = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_record_unique_key")
        ]

    def __str__(self) -> str:
        return self.key
