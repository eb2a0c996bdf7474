from django.db import models

from orderflow.messaging.models import StoredMessage


class FeedEntry(models.Model):
    """An event, and its place among all of them: 1, 2, 3 …, each visible only once all before it are."""

    position = models.BigIntegerField(primary_key=True)
    message = models.OneToOneField(StoredMessage, on_delete=models.PROTECT, related_name="+")
    type = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "feed entries"
        indexes = [models.Index(fields=["type", "position"], name="feed_by_type")]

    def __str__(self) -> str:
        return f"{self.position}: {self.type}"
