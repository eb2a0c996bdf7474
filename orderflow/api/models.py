from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

KEPT_FOR = timedelta(hours=24)


class StoredAnswerQuerySet(models.QuerySet["StoredAnswer"]):
    def expired(self) -> Self:
        return self.filter(at__lt=timezone.now() - KEPT_FOR)


class StoredAnswer(models.Model):
    """What a request with an Idempotency-Key was answered: the same request gets it again."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Of the request: its address and its body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP; empty only inside the transaction that finds it.")
    media_type = models.CharField(max_length=100)
    body = models.TextField()
    at = models.DateTimeField(db_index=True)

    objects = StoredAnswerQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="a_user_uses_a_key_once")]

    def __str__(self) -> str:
        return self.key
