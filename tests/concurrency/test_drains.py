"""Two drains of one consumer at once: each message is handed over once, and in order within its key."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging import consuming, subscriptions
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Received
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.publishing import Outgoing, publish
from stock.contract import MakeReservation, ShipReservation
from stock.models import Balance, Movement, StockMovement
from stock.services import Adjustment, adjust_stock
from tests.concurrency.conftest import put_on_the_shelf
from tests.concurrency.threads import meet, pile_up, without_row_locks
from tests.conftest import product

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

HANDING_OVER = (consuming, "_received")  # the consumer and a batch of deliveries are locked
FailAt = Callable[[Collection[int]], None]
ONE_KEY, ANOTHER_KEY = uuid4(), uuid4()

drain_stock = partial(drain, "stock", batch=2)
drain_stock_at_once = partial(drain, "stock")


def test_two_drains_at_once_hand_over_each_message_once_and_in_order(stock_takes_notes: None) -> None:
    # Seen to fail: without the consumer's lock the second drain takes a share; what else keeps it to once, see below.
    messages = published(ONE_KEY, ANOTHER_KEY, ONE_KEY, ANOTHER_KEY, ONE_KEY)

    drained = meet(drain_stock, drain_stock, at=HANDING_OVER)

    assert (drained.first, drained.second) == (5, 0)
    assert not drained.second_waited
    assert handled() == messages


def test_without_locks_the_count_of_the_deleted_deliveries_undoes_what_was_handled_twice(
    monkeypatch: pytest.MonkeyPatch, stock_takes_notes: None
) -> None:
    messages = published(ONE_KEY, ANOTHER_KEY, ONE_KEY)
    without_row_locks(monkeypatch)

    drained = meet(drain_stock, drain_stock, at=HANDING_OVER)

    assert (drained.first, drained.second) == (0, 3)
    assert handled() == messages


def test_without_locks_and_without_the_count_messages_are_handled_twice(
    monkeypatch: pytest.MonkeyPatch, stock_takes_notes: None
) -> None:
    messages = published(ONE_KEY, ANOTHER_KEY, ONE_KEY)
    without_row_locks(monkeypatch)
    monkeypatch.setattr(consuming, "_delete", lambda rows: Delivery.objects.filter(id__in=[row.pk for row in rows]).delete())

    meet(drain_stock, drain_stock, at=HANDING_OVER)

    assert handled() == [*messages, *messages[:2]]


def test_what_follows_a_failure_waits_although_another_drain_runs_at_once(stock_fails_at: FailAt) -> None:
    # Seen to fail: with a failed delivery that does not hold its key.
    failing, _, other = published(ONE_KEY, ONE_KEY, ANOTHER_KEY)
    stock_fails_at([failing])

    meet(drain_stock, drain_stock, at=HANDING_OVER)

    assert handled() == [other]


def test_a_batch_that_is_handled_one_by_one_deadlocks_with_nobody() -> None:
    # Seen to fail: with all its messages in one transaction, which locks balances in the order of the messages.
    put_on_the_shelf(chair=1, sofa=1, table=1)
    first, middle, last = sorted(product(sku) for sku in ("chair", "sofa", "table"))
    StoredMessage.objects.filter(id__in=published(ONE_KEY)).update(payload={})  # the batch fails before it locks anything
    for each in (last, middle, first):
        ask_for(each)

    pile_up(
        drain_stock_at_once, partial(adjust_stock, [one_more(first), one_more(middle)], by="ann"), holding=partial(lock, middle)
    )

    assert {balance.on_hand for balance in Balance.objects.filter(product__in=[first, middle])} == {2}


# -- a consumer that keeps a list ------------------------------------------------------------------------------------------


@pytest.fixture
def stock_fails_at(monkeypatch: pytest.MonkeyPatch) -> FailAt:
    """Stock's consumer notes in the ledger what it gets, and nothing in it tells twice from once. Told so, it fails."""
    chair = product("chair")
    failing: set[int] = set()

    def note(batch: Sequence[Received]) -> None:
        if failing & {received.id for received in batch}:
            raise RuntimeError("it was told to fail")
        StockMovement.objects.bulk_create(
            StockMovement(
                kind=Movement.PROMISED, product_id=chair, on_hand=0, reserved=0, message_id=received.id, at=timezone.now()
            )
            for received in batch
        )

    noting = replace(subscriptions.subscription_of("stock"), handle=note)
    monkeypatch.setitem(subscriptions._subscriptions, "stock", noting)
    return failing.update


@pytest.fixture
def stock_takes_notes(stock_fails_at: FailAt) -> None:
    """The same, and it never fails."""


def published(*keys: UUID) -> list[int]:
    with transaction.atomic():
        return publish([Outgoing(message=ShipReservation(reservation_id=key)) for key in keys])


def handled() -> list[int]:
    """What Stock got to the end, in this order."""
    return [row.message_id or 0 for row in StockMovement.objects.order_by("id")]


# -- the shelf ------------------------------------------------------------------------------------------------------------


def ask_for(product_id: UUID) -> None:
    one = ProductQuantity(product_id=product_id, quantity=1)
    order = MakeReservation(reservation_id=uuid4(), revision=1, request=1, lines=(one,), priority=0, placed_at=timezone.now())
    with transaction.atomic():
        publish([Outgoing(message=order)])


def one_more(product_id: UUID) -> Adjustment:
    return Adjustment(product_id=product_id, quantity=1, reason="found")


def lock(product_id: UUID) -> None:
    Balance.objects.select_for_update(no_key=True).get(product=product_id)
