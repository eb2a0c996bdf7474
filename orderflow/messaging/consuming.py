"""Hands messages over: in batches, in order, exactly once, whatever fails.

One transaction holds the effects of a batch and the deletion of its deliveries, under the lock of the consumer's row: that is
all that exactly-once needs. After a batch that failed, for whatever failed before, and once a few batches were begun and never
finished because something kills the process, messages are handled *carefully*: alone, with the attempt counted before it is made.
So a bad message stops only its own key.
"""

import logging
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile
from time import monotonic, sleep

from django.conf import settings
from django.db import Error, OperationalError, connection, transaction
from django.utils import timezone

from orderflow.database import is_away
from orderflow.messaging.messages import Received, TryLater, UnexpectedMessage, from_payload, message_types
from orderflow.messaging.models import Consumer, Delivery, DeliveryQuerySet, DeliveryState, StoredMessage
from orderflow.messaging.signals import messages_committed
from orderflow.messaging.subscriptions import Subscription, consumers_of, name_of, subscription_of

logger = logging.getLogger(__name__)

ATTEMPTS = 8  # failures until a delivery is dead
FIRST_DELAY = 1.0  # seconds until a failed delivery is tried again; doubled each time …
LONGEST_DELAY = 300.0  # … up to this
LEASE = 60.0  # seconds that work outside the database may take; its own timeouts must be shorter
PATIENCE = 4  # attempts that count while what is outside is away: a try every eight seconds, and no dead letter
CRASHES = 3  # batches cut off in a row until a consumer is served carefully
DRAIN_TIME = 10.0  # seconds until a drain hands over to a new task: sooner than a worker that shuts down would cut it off
LOCK_TIME = 0.1  # seconds, about, that a batch keeps SQLite's one write lock: whoever places an order waits for it


class NeverDelivered(LookupError):
    def __init__(self, consumer: str, name: str) -> None:
        super().__init__(f"{name} is not delivered to {consumer}: whether it was handled is no question.")


class DeliveryGone(OperationalError):
    def __init__(self, count: int) -> None:
        super().__init__(f"{count} deliveries were taken away while they were being handled")


def drain(consumer: str, *, batch: int | None = None, seconds: float = DRAIN_TIME) -> int:
    """Hand `consumer` everything it has to take; returns how many messages were handled.

    `batch` says how many at a time. Without it that is `ORDERFLOW_BATCH`, and on SQLite as many as `LOCK_TIME` allows.

    Ends at once where another process drains this consumer: that one looks again after it has released the lock, so what was
    published meanwhile is not forgotten. After `seconds` it ends by waking itself anew. Raises what the database raises when
    it is away; nothing is lost then, and nothing is half done.
    """
    subscription = subscription_of(consumer)
    until = monotonic() + seconds
    careful = subscription.outside
    size = batch or settings.ORDERFLOW_BATCH
    handled = 0
    while first := _first_to_take(consumer):
        if monotonic() > until:
            messages_committed.send(sender=None, consumer=consumer, countdown=0.0)
            return handled
        began = monotonic()
        alone = careful or first.attempts > 0
        if not alone:
            unfinished = _begin(consumer)
            if unfinished is None:
                return handled
            alone = careful = unfinished > CRASHES
        try:
            with _repeated_if_nobodys_fault(consumer):
                handled += _handle_carefully(subscription) if alone else _handle_batch(subscription, size)
        except TryLater as away:
            logger.warning("%s has to wait: %s", consumer, away)
            return handled  # whoever looks next tries the next message, and the others need not run into it one by one
        if connection.vendor == "sqlite":
            fitting = _let_others_write(size, monotonic() - began)
            size = batch or min(settings.ORDERFLOW_BATCH, fitting)
    if careful:
        _finish(consumer)
    return handled


def _let_others_write(size: int, seconds: float) -> int:
    """Pause for as long as a batch took, since SQLite's writers starve each other. Returns the size that takes `LOCK_TIME`."""
    sleep(seconds)
    return max(1, int(size * LOCK_TIME / max(seconds, 0.001)))


def has_something_to_take(consumer: str) -> bool:
    return _first_to_take(consumer) is not None


def has_handled(consumer: str, message: int) -> bool:
    """Has `consumer` handled this stored message? Exact: a delivery disappears in the transaction of its effects.

    A dead or discarded delivery is not handled. Raises `NeverDelivered` for a message that does not go to `consumer`.
    """
    return not not_handled(consumer, [message])


def not_handled(consumer: str, messages: Collection[int]) -> set[int]:
    """Those of the stored messages that `has_handled` denies."""
    for name in StoredMessage.objects.filter(id__in=messages).values_list("type", flat=True).distinct():
        if consumer not in consumers_of(message_types()[name]):
            raise NeverDelivered(consumer, name)
    waiting = Delivery.objects.filter(consumer=consumer, message_id__in=messages)
    return set(waiting.values_list("message_id", flat=True))


def _first_to_take(consumer: str) -> Delivery | None:
    """A look, without a transaction or a lock."""
    return Delivery.objects.takeable(consumer, timezone.now()).first()


def _begin(consumer: str) -> int | None:
    """Note, in a transaction of its own, that a batch is begun. Returns how many were begun and not finished, this one included.

    None: another process has the consumer.
    """
    with transaction.atomic():
        locked = _lock(consumer, wait=False)
        if locked is None:
            return None
        locked.unfinished += 1
        locked.save(update_fields=["unfinished"])
        return locked.unfinished


def _finish(consumer: str) -> None:
    Consumer.objects.filter(name=consumer, unfinished__gt=0).update(unfinished=0)


def _lock(consumer: str, *, wait: bool) -> Consumer | None:
    """The consumer's row, locked. None where another process has it, unless told to wait."""
    rows = Consumer.objects.select_for_update(skip_locked=not wait, no_key=True).filter(name=consumer)
    locked = rows.first()
    if locked is None and not Consumer.objects.filter(name=consumer).exists():
        Consumer.objects.bulk_create([Consumer(name=consumer)], ignore_conflicts=True)
        locked = rows.first()
    return locked


# -- a batch --------------------------------------------------------------------------------------------------------------


class _BatchFailed(Exception):
    def __init__(self, size: int) -> None:
        self.size = size


def _handle_batch(subscription: Subscription, size: int) -> int:
    """A batch in one transaction. If it fails, its messages one by one: nobody knows yet which of them it was.

    Each of them then has a transaction of its own. All in one would lock in the order of the messages, pass after pass, and
    deadlock with whoever locks in the right order.
    """
    try:
        return _handle_together(subscription, size)
    except _BatchFailed as failed:
        _finish(subscription.consumer)  # it was not cut off
        logger.info("%s failed at a batch of %d (%s); one by one", subscription.consumer, failed.size, failed.__cause__)
        return sum(_handle_carefully(subscription) for _ in range(failed.size))


def _handle_together(subscription: Subscription, size: int) -> int:
    taken: list[Delivery] = []
    try:
        with transaction.atomic():
            if _lock(subscription.consumer, wait=False) is None:
                return 0
            taken = _take(subscription.consumer, size)
            if taken:
                subscription.handle([_received(delivery) for delivery in taken])
                _delete(taken)
            _finish(subscription.consumer)
    except Exception as error:  # at the commit, too: a deferred constraint shows only there
        if _is_nobodys_fault(error) or not taken:
            raise
        raise _BatchFailed(len(taken)) from error
    return len(taken)


def _take(consumer: str, size: int) -> list[Delivery]:
    """Lock the deliveries to hand over together. What failed before is handled alone, and nothing overtakes it."""
    rows = Delivery.objects.takeable(consumer, timezone.now()).select_related("message").select_for_update(of=("self",))
    return list(takewhile(lambda delivery: not delivery.attempts, rows[:size]))


def _received(delivery: Delivery) -> Received:
    return Received(id=delivery.message_id, message=from_payload(delivery.message.type, delivery.message.payload))


def _delete(handled: Sequence[Delivery]) -> None:
    """Delete exactly these rows, or roll back: a row that is gone was handled, or decided on, by somebody else."""
    deleted, _ = Delivery.objects.waiting().filter(id__in=[delivery.pk for delivery in handled]).delete()
    if deleted != len(handled):
        raise DeliveryGone(len(handled) - deleted)


# -- with care ------------------------------------------------------------------------------------------------------------


def _handle_carefully(subscription: Subscription) -> int:
    """Handle the first message to take, alone. Its attempt is counted, and its key held, before it is handled."""
    delivery = _count_attempt(subscription)
    if delivery is None:
        return 0
    try:
        if subscription.outside:
            subscription.handle([_received(delivery)])
            _delete([delivery])
        else:
            with transaction.atomic():
                _lock(subscription.consumer, wait=True)
                if not _still_ours(delivery).select_for_update().exists():
                    return 0  # its key was free again before we had the lock, and somebody was faster
                subscription.handle([_received(delivery)])
                _delete([delivery])
    except Exception as error:
        if _is_nobodys_fault(error):
            _recover_connection()
            _still_ours(delivery).update(attempts=delivery.attempts - 1, due_at=timezone.now())
            raise
        ours = _still_ours(delivery)
        _note_failure(delivery, error)
        noted = ("last_error", "due_at", "state", "attempts")
        ours.update(**{name: getattr(delivery, name) for name in noted})
        if isinstance(error, TryLater):
            raise
        return 0
    return 1


def _still_ours(delivery: Delivery) -> DeliveryQuerySet:
    """The delivery, unless somebody else has tried it, or decided on it, since its attempt was counted."""
    return Delivery.objects.waiting().filter(pk=delivery.pk, attempts=delivery.attempts)


def _count_attempt(subscription: Subscription) -> Delivery | None:
    with transaction.atomic():
        _lock(subscription.consumer, wait=True)
        rows = Delivery.objects.takeable(subscription.consumer, timezone.now())
        delivery = rows.select_related("message").select_for_update(of=("self",)).first()
        if delivery is None:
            return None
        if delivery.attempts >= ATTEMPTS:
            _bury(delivery, "It ended the process each time it was tried.")
            delivery.save(update_fields=["state", "last_error"])
            return None
        delivery.attempts += 1
        delivery.due_at = timezone.now() + timedelta(seconds=LEASE if subscription.outside else _delay(delivery.attempts))
        delivery.save(update_fields=["attempts", "due_at"])
        return delivery


# -- failure --------------------------------------------------------------------------------------------------------------


def _note_failure(delivery: Delivery, error: Exception) -> None:
    if isinstance(error, TryLater):
        delivery.attempts = min(delivery.attempts, PATIENCE)
    if delivery.attempts >= ATTEMPTS or isinstance(error, UnexpectedMessage):
        _bury(delivery, _described(error))
        return
    delivery.last_error = _described(error)
    delivery.due_at = timezone.now() + timedelta(seconds=_delay(delivery.attempts))
    logger.warning("%s failed, attempt %d: %s", _named(delivery), delivery.attempts, delivery.last_error)


def _bury(delivery: Delivery, why: str) -> None:
    delivery.state = DeliveryState.DEAD
    delivery.last_error = why
    logger.error("%s is a dead letter and waits for a person: %s", _named(delivery), why)


def _named(delivery: Delivery) -> str:
    """For logs: the message, whom it goes to, and what people call what it is about."""
    try:
        return f"{delivery}, about {name_of(delivery.key)},"
    except Error:  # a failure is being noted, and the reason may be the database
        return str(delivery)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _delay(attempts: int) -> float:
    """Seconds until the next attempt, with jitter, so that what failed together is not tried together."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (attempts - 1)) * random.uniform(0.8, 1.2)


@contextmanager
def _repeated_if_nobodys_fault(consumer: str) -> Iterator[None]:
    """Swallow what is nobody's fault: the drain's next look finds the same batch again, and no attempt is counted."""
    try:
        yield
    except Exception as error:
        _recover_connection()
        _finish(consumer)  # the process lives: this batch was not cut off by its end
        if not _is_nobodys_fault(error):
            raise
        logger.info("The database asks %s to repeat a batch: %s", consumer, str(error).strip())
        sleep(random.uniform(0.01, 0.1))


def _is_nobodys_fault(error: Exception) -> bool:
    """A deadlock, a serialization failure, a lock not got in time, a connection or a server that went away.

    By PostgreSQL's error codes: 40 transaction rollback, 55P03 lock not available, 25P03 idle too long. SQLite has only words.
    """
    if isinstance(error, DeliveryGone) or is_away(error):
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
