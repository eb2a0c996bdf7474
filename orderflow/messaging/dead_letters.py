"""What a person can do with a delivery that failed for good."""

from collections.abc import Collection

from django.db import transaction
from django.utils import timezone

from orderflow.messaging.models import Delivery, DeliveryState
from orderflow.messaging.signals import messages_committed
from orderflow.refusals import Refused


class NoReasonGiven(Refused):
    code = "no_reason_given"

    def __init__(self) -> None:
        super().__init__("Say why, in a few words: whoever looks at this message later will want to know.")


def replay(deliveries: Collection[int], *, by: str, reason: str) -> int:
    """Hand these dead letters over once more, each in its place in the order of its key. Returns how many were dead.

    Locks the deliveries. Raises `NoReasonGiven`.
    """
    return _decide(deliveries, DeliveryState.WAITING, f"Replayed by {by}", reason)


def discard(deliveries: Collection[int], *, by: str, reason: str) -> int:
    """Never hand these dead letters over; what waits behind them goes on. Returns how many were dead.

    Locks the deliveries. Raises `NoReasonGiven`.
    """
    return _decide(deliveries, DeliveryState.DISCARDED, f"Discarded by {by}", reason)


@transaction.atomic
def _decide(deliveries: Collection[int], state: DeliveryState, what: str, reason: str) -> int:
    if not reason.strip():
        raise NoReasonGiven()
    now = timezone.now()
    rows = list(Delivery.objects.dead().filter(pk__in=deliveries).order_by("pk").select_for_update())
    for row in rows:
        row.state = state
        row.attempts = 0
        row.due_at = now
        row.decision = f"{row.decision}{what}, {now:%Y-%m-%d %H:%M}: {reason.strip()}\n"
    Delivery.objects.bulk_update(rows, ["state", "attempts", "due_at", "decision"])
    consumers = {row.consumer for row in rows}
    transaction.on_commit(lambda: _wake(consumers), robust=True)
    return len(rows)


def _wake(consumers: set[str]) -> None:
    for consumer in sorted(consumers):
        messages_committed.send(sender=None, consumer=consumer, countdown=0.0)
