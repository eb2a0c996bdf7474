"""What a person can do with a delivery that failed for good."""

from collections.abc import Collection

from django.db import transaction
from django.utils import timezone

from orderflow.messaging.models import Delivery, DeliveryQuerySet, DeliveryState
from orderflow.messaging.signals import messages_committed
from orderflow.refusals import Refused


class NoReasonGiven(Refused):
    """Something was decided about a dead letter without saying why."""

    code = "no_reason_given"

    def __init__(self) -> None:
        super().__init__("Say why, in a few words: whoever looks at this message later will want to know.")


def replay(deliveries: Collection[int], *, by: str, reason: str) -> int:
    """Hand these dead or discarded letters over once more. Returns how many of them were dead or discarded.

    A dead one keeps its place in the order of its key; a discarded one has let the others pass.
    Locks the deliveries. Raises `NoReasonGiven`.
    """
    rows = Delivery.objects.filter(pk__in=deliveries, state__in=[DeliveryState.DEAD, DeliveryState.DISCARDED])
    return _decide(rows, DeliveryState.WAITING, f"Replayed by {by}", reason)


def discard(deliveries: Collection[int], *, by: str, reason: str) -> int:
    """Never hand these dead letters over; what waits behind them goes on. Returns how many were dead.

    Locks the deliveries. Raises `NoReasonGiven`.
    """
    return _decide(Delivery.objects.dead().filter(pk__in=deliveries), DeliveryState.DISCARDED, f"Discarded by {by}", reason)


@transaction.atomic
def _decide(letters: DeliveryQuerySet, state: DeliveryState, what: str, reason: str) -> int:
    if not reason.strip():
        raise NoReasonGiven()
    now = timezone.now()
    rows = list(letters.order_by("pk").select_for_update())
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
