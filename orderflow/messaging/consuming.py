"""Drain consumers: handle messages in batches, in order, with exactly-once effects.

One transaction holds the effects of a batch and the deletion of its queued messages, under the
lock of the consumer's row. That alone makes the effects exactly-once. A non-transactional handler
runs at least once, with one message at a time; its queued message is deleted afterwards.

Isolated mode handles one message at a time, with the attempt counted before the handler runs. It
is used after a batch failed, for a message that failed before, and after more than
`MAX_UNFINISHED_BATCHES` batches in a row began and did not finish because the process died. So a
failing message blocks only its own key.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile
from time import monotonic, sleep

from django.conf import settings
from django.db import Error, OperationalError, connection, transaction
from django.utils import timezone

from orderflow.core.database import is_unavailable
from orderflow.messaging.messages import (
    ReceivedMessage,
    RetryLater,
    UnexpectedMessage,
    from_payload,
)
from orderflow.messaging.models import (
    Consumer,
    QueuedMessage,
    QueuedMessageQuerySet,
    QueuedMessageStatus,
)
from orderflow.messaging.signals import messages_available
from orderflow.messaging.subscriptions import Subscription, label_for_key, subscription_of

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 8  # failed attempts until a message becomes a dead letter
INITIAL_BACKOFF = 1.0  # seconds until the second attempt; doubled for each further one
MAX_BACKOFF = 300.0  # seconds
LEASE = 60.0  # seconds that a non-transactional handler may take; its timeouts must be shorter
# Upper bound of the attempt count while an external system is unavailable: retries stay about 8 s
# apart, and no dead letter is made.
MAX_OUTAGE_ATTEMPTS = 4
MAX_UNFINISHED_BATCHES = 3  # in a row; after that the consumer is drained in isolated mode
# Seconds until a drain ends by waking itself: a worker that shuts down would cut off a longer one.
MAX_DRAIN_SECONDS = 10.0
# Seconds that a batch should hold SQLite's single write lock: placing an order waits for it.
TARGET_LOCK_SECONDS = 0.1


class AlreadyHandled(OperationalError):
    def __init__(self, count: int) -> None:
        super().__init__(f"{count} queued messages were removed while they were being handled")


def drain(consumer: str, *, batch: int | None = None, seconds: float = MAX_DRAIN_SECONDS) -> int:
    """Handle the messages of a consumer until none is due; return how many were handled.

    `batch`: messages in one transaction; by default `ORDERFLOW_BATCH_SIZE`, and on SQLite as many
    as `TARGET_LOCK_SECONDS` allows. In batch mode, returns at once if another process drains this
    consumer; that process checks again for due messages. Isolated mode waits for the lock. Ends
    after `seconds` by waking itself.
    Raises the database's error if it is unavailable; the current batch is rolled back.
    """
    subscription = subscription_of(consumer)
    until = monotonic() + seconds
    isolated = not subscription.transactional
    size = batch or settings.ORDERFLOW_BATCH_SIZE
    handled = 0
    while first := _first_due(consumer):
        if monotonic() > until:
            messages_available.send(sender=None, consumer=consumer, countdown=0.0)
            return handled
        began = monotonic()
        if not (isolated or first.attempts):
            unfinished = _begin(consumer)
            if unfinished is None:
                return handled
            isolated = unfinished > MAX_UNFINISHED_BATCHES
        handle = _handle_isolated if isolated or first.attempts else _handle_batch
        try:
            with _ignore_transient_errors(consumer):
                handled += handle(subscription, size)
        except RetryLater as error:
            # The next drain continues with the next message; without this, every message of the
            # backlog would meet the same outage.
            logger.warning("Consumer %s paused, external system unavailable: %s", consumer, error)
            return handled
        if connection.vendor == "sqlite":
            fitting = _yield_write_lock(size, monotonic() - began)
            size = batch or min(settings.ORDERFLOW_BATCH_SIZE, fitting)
    if isolated:
        _finish(consumer)
    return handled


def _yield_write_lock(size: int, seconds: float) -> int:
    """Pause as long as the batch took; return the batch size that fits `TARGET_LOCK_SECONDS`.

    Without the pause SQLite's other writers starve.
    """
    sleep(seconds)
    return max(1, int(size * TARGET_LOCK_SECONDS / max(seconds, 0.001)))


def _first_due(consumer: str) -> QueuedMessage | None:
    """Read without a transaction and without a lock."""
    return QueuedMessage.objects.due(consumer, timezone.now()).first()


def _begin(consumer: str) -> int | None:
    """Count the batch that begins, in a transaction of its own; return the unfinished batches.

    None: another process holds the consumer's lock.
    """
    with transaction.atomic():
        locked = _lock(consumer, wait=False)
        if locked is None:
            return None
        locked.unfinished_batches += 1
        locked.save(update_fields=["unfinished_batches"])
        return locked.unfinished_batches


def _finish(consumer: str) -> None:
    rows = Consumer.objects.filter(name=consumer, unfinished_batches__gt=0)
    rows.update(unfinished_batches=0)


def _lock(consumer: str, *, wait: bool) -> Consumer | None:
    """Lock and return the consumer's row; None if another process holds it and `wait` is false."""
    rows = Consumer.objects.select_for_update(skip_locked=not wait, no_key=True)
    rows = rows.filter(name=consumer)
    locked = rows.first()
    if locked is None and not Consumer.objects.filter(name=consumer).exists():
        Consumer.objects.bulk_create([Consumer(name=consumer)], ignore_conflicts=True)
        locked = rows.first()
    return locked


# -- a batch -------------------------------------------------------------------------------------


class _BatchFailed(Exception):
    def __init__(self, size: int) -> None:
        self.size = size


def _handle_batch(subscription: Subscription, size: int) -> int:
    """Handle a batch in one transaction. If it fails, handle its messages in isolated mode.

    Then each message has its own transaction. One transaction for all messages would lock rows in
    the order of the messages. A concurrent handler that locks the same rows in another order could
    then deadlock with it.
    """
    try:
        return _handle_in_one_transaction(subscription, size)
    except _BatchFailed as failed:
        _finish(subscription.consumer)  # it was not cut off
        logger.info(
            "Consumer %s: a batch of %d messages failed (%s); handling them one at a time",
            subscription.consumer,
            failed.size,
            failed.__cause__,
        )
        return sum(_handle_isolated(subscription) for _ in range(failed.size))


def _handle_in_one_transaction(subscription: Subscription, size: int) -> int:
    batch: list[QueuedMessage] = []
    try:
        with transaction.atomic():
            if _lock(subscription.consumer, wait=False) is None:
                return 0
            batch = _claim(subscription.consumer, size)
            if batch:
                subscription.handle([_received(queued) for queued in batch])
                _delete(batch)
            _finish(subscription.consumer)
    except Exception as error:  # the commit can raise too: deferred constraints are checked there
        if _is_transient(error) or not batch:
            raise
        raise _BatchFailed(len(batch)) from error
    return len(batch)


def _claim(consumer: str, size: int) -> list[QueuedMessage]:
    """Lock the next due messages, up to the first that failed before: that one is isolated."""
    rows = QueuedMessage.objects.due(consumer, timezone.now()).select_related("message")
    locked = rows.select_for_update(of=("self",))[:size]
    return list(takewhile(lambda queued: not queued.attempts, locked))


def _received(queued: QueuedMessage) -> ReceivedMessage:
    message = from_payload(queued.message.type, queued.message.payload)
    return ReceivedMessage(id=queued.message_id, message=message)


def _delete(handled: Sequence[QueuedMessage]) -> None:
    """Delete exactly these rows, or roll back: a missing row was handled or resolved elsewhere."""
    rows = QueuedMessage.objects.pending().filter(id__in=[queued.pk for queued in handled])
    deleted, _ = rows.delete()
    if deleted != len(handled):
        raise AlreadyHandled(len(handled) - deleted)


# -- isolated mode -------------------------------------------------------------------------------


def _handle_isolated(subscription: Subscription, size: int = 1) -> int:
    """Handle the first due message alone, whatever the batch size.

    The attempt is counted, and the key blocked, before the handler runs.
    """
    queued = _count_attempt(subscription)
    if queued is None:
        return 0
    try:
        if subscription.transactional:
            with transaction.atomic():
                _lock(subscription.consumer, wait=True)
                if not _if_unchanged(queued).select_for_update().exists():
                    # The key was unblocked before this lock, and it was handled elsewhere.
                    return 0
                subscription.handle([_received(queued)])
                _delete([queued])
        else:
            subscription.handle([_received(queued)])
            _delete([queued])
    except Exception as error:
        if _is_transient(error):
            _recover_connection()
            _if_unchanged(queued).update(attempts=queued.attempts - 1, due_at=timezone.now())
            raise
        unchanged = _if_unchanged(queued)
        _record_failure(queued, error)
        fields = ("last_error", "due_at", "status", "attempts")
        unchanged.update(**{name: getattr(queued, name) for name in fields})
        if isinstance(error, RetryLater):
            raise
        return 0
    return 1


def _if_unchanged(queued: QueuedMessage) -> QueuedMessageQuerySet:
    """Return the row, unless it was attempted or resolved elsewhere in the meantime."""
    return QueuedMessage.objects.pending().filter(pk=queued.pk, attempts=queued.attempts)


def _count_attempt(subscription: Subscription) -> QueuedMessage | None:
    with transaction.atomic():
        _lock(subscription.consumer, wait=True)
        rows = QueuedMessage.objects.due(subscription.consumer, timezone.now())
        queued = rows.select_related("message").select_for_update(of=("self",)).first()
        if queued is None:
            return None
        if queued.attempts >= MAX_ATTEMPTS:
            _move_to_dead_letters(
                queued,
                f"Poison message: the worker process ended during attempt {MAX_ATTEMPTS} of "
                f"{MAX_ATTEMPTS}.",
            )
            queued.save(update_fields=["status", "last_error"])
            return None
        queued.attempts += 1
        blocked = _backoff(queued.attempts) if subscription.transactional else LEASE
        queued.due_at = timezone.now() + timedelta(seconds=blocked)
        queued.save(update_fields=["attempts", "due_at"])
        return queued


# -- failures ------------------------------------------------------------------------------------


def _record_failure(queued: QueuedMessage, error: Exception) -> None:
    if isinstance(error, RetryLater):
        queued.attempts = min(queued.attempts, MAX_OUTAGE_ATTEMPTS)
    if queued.attempts >= MAX_ATTEMPTS or isinstance(error, UnexpectedMessage):
        _move_to_dead_letters(queued, _describe(error))
        return
    queued.last_error = _describe(error)
    queued.due_at = timezone.now() + timedelta(seconds=_backoff(queued.attempts))
    logger.warning(
        "%s failed, attempt %d of %d: %s",
        _label(queued),
        queued.attempts,
        MAX_ATTEMPTS,
        queued.last_error,
    )


def _move_to_dead_letters(queued: QueuedMessage, error: str) -> None:
    queued.status = QueuedMessageStatus.DEAD_LETTER
    queued.last_error = error
    logger.error("%s is a dead letter. Replay or discard it: %s", _label(queued), error)


def _label(queued: QueuedMessage) -> str:
    """Name the message for logs: consumer, id, type, and the label of its key."""
    try:
        label = label_for_key(queued.key)
    except Error:  # the failure that is being recorded may be the database's
        label = str(queued.key)
    message = queued.message
    return f"Consumer {queued.consumer}: message {message.pk} ({message.type}, {label})"


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _backoff(attempts: int) -> float:
    """Return the seconds until the next attempt, with jitter, so that failures spread out."""
    return min(MAX_BACKOFF, INITIAL_BACKOFF * 2.0 ** (attempts - 1)) * random.uniform(0.8, 1.2)


@contextmanager
def _ignore_transient_errors(consumer: str) -> Iterator[None]:
    """Ignore a transient error: the drain repeats the batch, and no attempt is counted."""
    try:
        yield
    except Exception as error:
        _recover_connection()
        _finish(consumer)  # the process is alive: the batch was not cut off
        if not _is_transient(error):
            raise
        text = str(error).strip()
        logger.info("Consumer %s repeats a batch after a transient error: %s", consumer, text)
        sleep(random.uniform(0.01, 0.1))


def _is_transient(error: Exception) -> bool:
    """Return whether repeating can help, as after a deadlock, a timeout or a lost connection.

    By the PostgreSQL error codes 40 (transaction rollback), 55P03 (lock not available) and 25P03
    (idle in transaction timeout). SQLite has only messages.
    """
    if isinstance(error, AlreadyHandled) or is_unavailable(error):
        return True
    if not isinstance(error, OperationalError):
        return False
    if connection.vendor == "sqlite":
        return "locked" in str(error)
    code = getattr(error.__cause__, "sqlstate", None) or ""
    return code in ("55P03", "25P03") or code.startswith("40")


def _recover_connection() -> None:
    if not connection.in_atomic_block and not connection.is_usable():
        connection.close()
