"""What is done with events: each gets its number."""

from collections.abc import Sequence

from django.db.models import Max

from orderflow.feed.models import FeedEntry
from orderflow.messaging.messages import Received, type_name


def number(batch: Sequence[Received]) -> None:
    """The feed as a consumer, inside the drain's transaction: under the consumer's lock only one such transaction is under way.

    So the next number is the last one's and one more; whoever has seen a number has seen all before it, because they were
    committed before it. An event that is committed late simply gets a later number.
    """
    last = FeedEntry.objects.aggregate(last=Max("position"))["last"] or 0
    FeedEntry.objects.bulk_create(
        FeedEntry(position=position, message_id=received.id, type=type_name(type(received.message)))
        for position, received in enumerate(batch, last + 1)
    )
