"""Append events to the event feed."""

from collections.abc import Sequence

from django.db.models import Max

from orderflow.event_feed.models import FeedEntry
from orderflow.messaging.messages import ReceivedMessage, type_name


def append_events(batch: Sequence[ReceivedMessage]) -> None:
    """Append a batch of events with the next positions, inside the drain's transaction.

    The consumer's lock admits one such transaction at a time, so positions are committed in order
    and without gaps. An event that commits late gets a later position.
    """
    last = FeedEntry.objects.aggregate(last=Max("position"))["last"] or 0
    FeedEntry.objects.bulk_create(
        FeedEntry(
            position=position,
            message_id=received.id,
            type=type_name(type(received.message)),
        )
        for position, received in enumerate(batch, last + 1)
    )
