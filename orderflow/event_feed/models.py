"""The table of the event feed."""

from django.db import models

from orderflow.messaging.models import StoredMessage


class FeedEntry(models.Model):
    """An event and its position: 1, 2, 3 … A position is visible after all lower ones."""

    position = models.BigIntegerField(primary_key=True)
    message = models.OneToOneField(StoredMessage, on_delete=models.PROTECT, related_name="+")
    type = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "event feed"
        indexes = [models.Index(fields=["type", "position"], name="feed_entry_type_position_idx")]

    def __str__(self) -> str:
        return f"{self.position}: {self.type}"
