import random
from collections.abc import Callable
from itertools import pairwise
from time import sleep
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from orderflow.messaging import consuming, subscriptions
from orderflow.messaging.consuming import NotSubscribed, drain, has_handled
from orderflow.messaging.dead_letters import ReasonRequired, discard, replay
from orderflow.messaging.messages import ReceivedMessage, UnexpectedMessage
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.messaging.subscriptions import Subscription
from tests.messaging.listener import CONSUMER, Listener, Noted, effects, say

Later = Callable[[float], None]


class Failing:
    """A handler that fails on some messages, so many times."""

    def __init__(self, times: int, *texts: str, error: type[Exception] = ValueError) -> None:
        self.left = dict.fromkeys(texts, times)
        self.error = error

    def __call__(self, message: Noted) -> None:
        if self.left.get(message.text):
            self.left[message.text] -= 1
            raise self.error(f"cannot bear {message.text}")


def test_a_batch_is_handled_at_once_and_in_order(listener: Listener) -> None:
    texts = [f"{number:02}" for number in range(20)]
    say(uuid4(), *texts)
    assert drain(CONSUMER) == 20
    assert listener.heard == texts
    assert listener.batches == [20]
    assert not QueuedMessage.objects.exists()


def test_a_backlog_is_handled_batch_by_batch(listener: Listener) -> None:
    say(uuid4(), *(f"{number:02}" for number in range(25)))
    drain(CONSUMER, batch=10)
    assert listener.batches == [10, 10, 5]


@pytest.mark.local_only
def test_a_slow_handler_gets_smaller_batches_so_that_nobody_waits_long_for_the_one_write_lock(
    listener: Listener, settings: Any
) -> None:
    settings.ORDERFLOW_BATCH_SIZE = 100
    listener.misbehave = lambda message: sleep(0.003)
    say(uuid4(), *(f"{number:03}" for number in range(200)))
    drain(CONSUMER)
    assert listener.batches[0] == 100  # which takes 0.3 seconds, three times as long as it should
    assert max(listener.batches[1:]) <= 33
    assert sum(listener.batches) == 200


def test_a_handler_that_fails_three_times_and_then_works_keeps_the_order_of_its_key(
    listener: Listener, later: Later
) -> None:
    troubled, untroubled = uuid4(), uuid4()
    listener.misbehave = Failing(4, "t1")  # once in its batch, then three times alone
    say(troubled, "t1", "t2")
    say(untroubled, "u1")
    drain(CONSUMER)
    assert listener.heard == ["u1"]  # others go on
    for _ in range(2):
        later(10.0)
        drain(CONSUMER)
    say(troubled, "t3")
    assert listener.heard == ["u1"]
    assert QueuedMessage.objects.get(attempts=3).last_error == "ValueError: cannot bear t1"
    later(10.0)
    drain(CONSUMER)
    assert listener.heard == ["u1", "t1", "t2", "t3"]


def test_a_failed_delivery_is_tried_again_after_ever_longer_delays(
    listener: Listener, later: Later
) -> None:
    listener.misbehave = Failing(99, "bad")
    say(uuid4(), "bad")
    delays = []
    for _ in range(consuming.MAX_ATTEMPTS - 1):
        drain(CONSUMER)
        delays.append((QueuedMessage.objects.get().due_at - timezone.now()).total_seconds())
        later(delays[-1])
    for delay, following in pairwise(delays):
        assert 1.2 * delay < following < 3.2 * delay  # doubled, with jitter


def test_a_message_that_never_works_becomes_a_dead_letter_and_only_its_key_waits(
    listener: Listener, later: Later
) -> None:
    listener.misbehave = Failing(99, "bad")
    about = uuid4()
    say(about, "bad", "behind it")
    for _ in range(consuming.MAX_ATTEMPTS):
        drain(CONSUMER)
        later(400.0)
    letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    assert (letter.attempts, letter.last_error) == (
        consuming.MAX_ATTEMPTS,
        "ValueError: cannot bear bad",
    )
    say(uuid4(), "elsewhere")
    later(10_000.0)
    drain(CONSUMER)
    assert listener.heard == ["elsewhere"]


def test_a_dead_letter_that_is_replayed_comes_before_what_waited_behind_it(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    listener.misbehave = Failing(
        2, "bad", error=UnexpectedMessage
    )  # once in its batch, then alone
    say(uuid4(), "bad", "behind it")
    drain(CONSUMER)
    letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    woken.clear()
    assert replay([letter.pk], actor="Ada", reason="mended") == 1
    assert woken == [(CONSUMER, 0.0)]
    assert "Replayed by Ada" in QueuedMessage.objects.get(pk=letter.pk).resolution_log
    drain(CONSUMER)
    assert listener.heard == ["bad", "behind it"]


def test_a_dead_letter_that_is_discarded_stays_as_a_row_and_lets_the_others_pass(
    listener: Listener,
) -> None:
    listener.misbehave = Failing(99, "bad", error=UnexpectedMessage)
    say(uuid4(), "bad", "behind it")
    drain(CONSUMER)
    letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    assert discard([letter.pk], actor="Ada", reason="known to be void") == 1
    drain(CONSUMER)
    assert listener.heard == ["behind it"]
    assert QueuedMessage.objects.get().status == QueuedMessageStatus.DISCARDED
    assert not has_handled(CONSUMER, letter.message_id)


def test_a_discarded_letter_can_still_be_replayed(listener: Listener) -> None:
    listener.misbehave = Failing(
        2, "bad", error=UnexpectedMessage
    )  # once in its batch, then alone
    say(uuid4(), "bad", "behind it")
    drain(CONSUMER)
    letter = QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER)
    discard([letter.pk], actor="Ada", reason="known to be void")
    drain(CONSUMER)
    assert replay([letter.pk], actor="Ada", reason="changed my mind") == 1
    drain(CONSUMER)
    assert listener.heard == ["behind it", "bad"]
    assert replay([letter.pk], actor="Ada", reason="once more") == 0  # it was handled


def test_it_rejects_deciding_on_a_dead_letter_without_a_reason(listener: Listener) -> None:
    with pytest.raises(ReasonRequired, match="Say why"):
        replay([1], actor="Ada", reason=" ")


def test_a_message_that_the_rules_have_no_place_for_is_dead_at_once(listener: Listener) -> None:
    listener.misbehave = Failing(
        2, "bad", error=UnexpectedMessage
    )  # once in its batch, then alone
    say(uuid4(), "bad")
    drain(CONSUMER)
    assert QueuedMessage.objects.get().status == QueuedMessageStatus.DEAD_LETTER


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"type": "tests.Unknown"}, "No message type is called tests.Unknown"),
        ({"payload": {"about": "no id", "text": "bad"}}, "does not fit tests.Noted"),
        ({"payload": {"about": str(uuid4())}}, "missing required field `text`"),
    ],
)
def test_what_cannot_be_decoded_is_dead_at_once_and_the_rest_is_handled(
    listener: Listener, change: dict[str, object], error: str
) -> None:
    [message_id] = say(uuid4(), "bad")
    say(uuid4(), "good")
    StoredMessage.objects.filter(pk=message_id).update(**change)
    drain(CONSUMER)
    assert listener.heard == ["good"]
    assert error in QueuedMessage.objects.get(status=QueuedMessageStatus.DEAD_LETTER).last_error


def test_unknown_fields_of_a_payload_are_ignored(listener: Listener) -> None:
    [message_id] = say(uuid4(), "good")
    payload = StoredMessage.objects.get().payload
    StoredMessage.objects.filter(pk=message_id).update(payload={**payload, "new": "field"})
    drain(CONSUMER)
    assert listener.heard == ["good"]


def test_order_holds_within_each_key_whatever_fails(listener: Listener, later: Later) -> None:
    dice = random.Random(7)
    keys = [uuid4() for _ in range(5)]
    said: dict[UUID, list[str]] = {key: [] for key in keys}
    for number in range(60):
        key = dice.choice(keys)
        said[key].append(f"{number:02}")
        say(key, said[key][-1])

    def fail_at_times(message: Noted) -> None:
        if dice.random() < 0.15:
            raise ValueError("bad luck")

    listener.misbehave = fail_at_times
    while QueuedMessage.objects.exists():
        drain(CONSUMER, batch=dice.randint(1, 20))
        QueuedMessage.objects.filter(status=QueuedMessageStatus.DEAD_LETTER).update(
            status=QueuedMessageStatus.PENDING, attempts=0
        )
        later(400.0)
    for texts in said.values():
        assert [text for text in listener.heard if text in texts] == texts
    assert len(listener.heard) == 60


def test_a_deferred_constraint_that_fails_at_the_commit_stops_only_its_own_message(
    listener: Listener,
) -> None:
    def point_nowhere(message: Noted) -> None:
        if message.text == "bad":
            QueuedMessage.objects.create(
                consumer="nobody", message_id=10**9, key=message.about, due_at=timezone.now()
            )

    listener.misbehave = point_nowhere
    say(uuid4(), "bad")
    say(uuid4(), "good")
    drain(CONSUMER)
    assert listener.heard == ["good"]
    assert "IntegrityError" in QueuedMessage.objects.get().last_error


def test_has_handled_is_exact(listener: Listener) -> None:
    [message_id] = say(uuid4(), "hello")
    assert not has_handled(CONSUMER, message_id)
    drain(CONSUMER)
    assert has_handled(CONSUMER, message_id)


def test_it_rejects_asking_whether_somebody_handled_what_he_never_gets(listener: Listener) -> None:
    [message_id] = say(uuid4(), "hello")
    with pytest.raises(NotSubscribed, match=r"tests\.Noted is not delivered to stock"):
        has_handled("stock", message_id)


def test_a_drain_that_runs_out_of_time_wakes_its_successor(
    listener: Listener, woken: list[tuple[str, float]]
) -> None:
    say(uuid4(), "hello")
    woken.clear()
    drain(CONSUMER, seconds=-1.0)
    assert listener.heard == []
    assert woken == [(CONSUMER, 0.0)]


# -- work outside the database --------------------------------------------------------------------------------------------


@pytest.fixture
def outsider(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A consumer that works outside the database. What it did there."""
    done: list[str] = []

    def handle(batch: list[ReceivedMessage]) -> None:
        [received] = batch
        assert isinstance(received.message, Noted)
        assert not connection.in_atomic_block
        done.append(
            f"{received.message.text}, attempt {QueuedMessage.objects.get(message=received.id).attempts}"
        )
        listener.misbehave(received.message)

    subscription = Subscription(
        consumer=CONSUMER, to=(Noted,), handle=handle, transactional=not True
    )  # type: ignore[arg-type]
    monkeypatch.setitem(subscriptions._subscriptions, CONSUMER, subscription)
    return done


def test_work_outside_is_done_one_by_one_never_in_a_transaction_with_the_attempt_counted_before(
    outsider: list[str],
) -> None:
    say(uuid4(), "first", "second")
    drain(CONSUMER)
    assert outsider == ["first, attempt 1", "second, attempt 1"]
    assert not QueuedMessage.objects.exists()


def test_work_outside_that_fails_is_tried_again_and_its_key_waits(
    outsider: list[str], listener: Listener, later: Later
) -> None:
    listener.misbehave = Failing(1, "first")
    say(uuid4(), "first", "second")
    drain(CONSUMER)
    assert outsider == ["first, attempt 1"]
    later(10.0)
    drain(CONSUMER)
    assert outsider == ["first, attempt 1", "first, attempt 2", "second, attempt 1"]


# -- ends of processes ----------------------------------------------------------------------------------------------------


def test_a_consumer_that_was_cut_off_three_times_is_served_message_by_message_until_all_is_handled(
    listener: Listener,
) -> None:
    Consumer.objects.update_or_create(
        name=CONSUMER, defaults={"unfinished_batches": consuming.MAX_UNFINISHED_BATCHES}
    )
    say(uuid4(), "a", "b", "c")
    drain(CONSUMER)
    assert listener.batches == [1, 1, 1]
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0
    say(uuid4(), "d", "e")
    drain(CONSUMER)
    assert listener.batches == [1, 1, 1, 2]


def test_a_message_that_only_fails_does_not_make_its_consumer_careful(
    listener: Listener, later: Later
) -> None:
    listener.misbehave = Failing(99, "bad")
    say(uuid4(), "bad")
    for _ in range(consuming.MAX_UNFINISHED_BATCHES + 2):
        drain(CONSUMER)
        assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0
        later(400.0)
    say(uuid4(), "a", "b", "c")
    listener.batches.clear()
    drain(CONSUMER)
    assert 3 in listener.batches


def test_what_somebody_else_decided_on_meanwhile_is_left_alone(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(uuid4(), "hello")
    QueuedMessage.objects.update(attempts=1)
    count_attempt = consuming._count_attempt

    def discarded_before_the_lock(subscription: Subscription) -> QueuedMessage | None:
        delivery = count_attempt(subscription)
        QueuedMessage.objects.update(status=QueuedMessageStatus.DISCARDED)
        return delivery

    monkeypatch.setattr(consuming, "_count_attempt", discarded_before_the_lock)
    drain(CONSUMER)
    assert listener.heard == []
    assert QueuedMessage.objects.get().status == QueuedMessageStatus.DISCARDED


def test_effects_and_deliveries_stay_or_go_together(listener: Listener) -> None:
    class PowerCut(BaseException):
        """Nothing catches it, as nothing catches the end of a process."""

    def cut(message: Noted) -> None:
        if message.text == "c":
            raise PowerCut

    listener.misbehave = cut
    say(uuid4(), "a", "b", "c")
    with pytest.raises(PowerCut):
        drain(CONSUMER)
    assert effects() == []
    assert QueuedMessage.objects.count() == 3
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 1
    listener.misbehave = lambda message: None
    drain(CONSUMER)
    assert effects() == ["a", "b", "c"]


def test_an_unfinished_batch_of_a_drain_that_only_failed_is_not_taken_for_a_crash(
    listener: Listener,
) -> None:
    listener.misbehave = Failing(1, "bad", error=RuntimeError)
    with transaction.atomic():
        say(uuid4(), "bad")
    drain(CONSUMER)
    assert Consumer.objects.get(name=CONSUMER).unfinished_batches == 0
