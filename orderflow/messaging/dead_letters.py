"""Replay and discard dead letters."""

from collections.abc import Collection

from django.db import transaction
from django.utils import timezone

from orderflow.core.errors import DomainError
from orderflow.messaging.models import QueuedMessage, QueuedMessageQuerySet, QueuedMessageStatus
from orderflow.messaging.signals import messages_available


class ReasonRequired(DomainError):
    """A dead letter was replayed or discarded without a reason."""

    code = "reason_required"
    in_rest_api = False  # no endpoint replays or discards

    def __init__(self) -> None:
        super().__init__(
            "A reason is required. Enter the reason beside the action. No changes were made."
        )


def replay(queued_ids: Collection[int], *, actor: str, reason: str) -> int:
    """Replay these dead letters and discarded messages; return how many were replayed.

    A dead letter keeps its place in the order of its key; later messages may have been handled
    before a discarded one. Locks: the queued messages. Raises: `ReasonRequired`.
    """
    rows = QueuedMessage.objects.filter(
        pk__in=queued_ids,
        status__in=[QueuedMessageStatus.DEAD_LETTER, QueuedMessageStatus.DISCARDED],
    )
    return _resolve(rows, QueuedMessageStatus.PENDING, f"Replayed by {actor}", reason)


def discard(queued_ids: Collection[int], *, actor: str, reason: str) -> int:
    """Discard these dead letters, which unblocks their keys; return how many were discarded.

    Locks: the queued messages. Raises: `ReasonRequired`.
    """
    rows = QueuedMessage.objects.dead_letters().filter(pk__in=queued_ids)
    return _resolve(rows, QueuedMessageStatus.DISCARDED, f"Discarded by {actor}", reason)


@transaction.atomic
def _resolve(
    queued: QueuedMessageQuerySet, status: QueuedMessageStatus, resolution: str, reason: str
) -> int:
    if not reason.strip():
        raise ReasonRequired()
    now = timezone.now()
    entry = f"{resolution}, {now:%Y-%m-%d %H:%M}: {reason.strip()}\n"
    rows = list(queued.order_by("pk").select_for_update())
    for row in rows:
        row.status = status
        row.attempts = 0
        row.due_at = now
        row.resolution_log += entry
    QueuedMessage.objects.bulk_update(rows, ["status", "attempts", "due_at", "resolution_log"])
    consumers = {row.consumer for row in rows}
    transaction.on_commit(lambda: _wake(consumers), robust=True)
    return len(rows)


def _wake(consumers: set[str]) -> None:
    for consumer in sorted(consumers):
        messages_available.send(sender=None, consumer=consumer, countdown=0.0)
