"""What Orderflow stands on is taken away, frozen, wiped or doubled: orders are accepted, move on, and end once."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.test import Client

from orderflow.celery import app
from orderflow.messaging import wakeups
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.messaging.queries import is_idle
from orderflow.operations.management.processes import beat, worker
from purchase.services import ReceiptDraft, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, place_orders
from tests.concurrency.threads import meet
from tests.conftest import drain_all, lines, product
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import add_stock, eventually, place, status
from tests.fault_injection.conftest import HASTE, CrashingWorkers
from tests.fault_injection.invariants import assert_invariants, every_order_has_ended
from tests.servers import SERVERS

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = "The database is away"


@pytest.fixture
def in_haste(process_runner: ProcessRunner) -> ProcessRunner:
    process_runner.start(worker(), beat(), **HASTE)
    return process_runner


# -- Redis ----------------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql_only
def test_orders_that_are_placed_while_the_broker_is_down_are_accepted_and_move_when_it_is_back(
    in_haste: ProcessRunner, client: Client
) -> None:
    add_stock("CHAIR", 20)
    before = place(CHAIR=1)
    eventually(before, "delivered")
    reserved = place(CHAIR=100)  # its timer is reserved by the worker when Redis goes
    receive_goods([ReceiptDraft(purchase_order_id=linked_purchase_order(reserved).pk)])
    with redis.Redis.from_url(SERVERS["redis"].url) as broker:
        assert_eventually(lambda: bool(broker.hlen("orderflow:unacked")))
    with SERVERS["redis"].away(signal.SIGKILL):
        began = time.monotonic()
        meanwhile = [place(CHAIR=1) for _ in range(10)]
        assert time.monotonic() - began < 2.0
        health = client.get("/healthz")
        assert (health.status_code, health.json()["broker"], health.json()["database"]) == (
            200,
            "away",
            "ok",
        )
        assert time.monotonic() - began < 3.0
    for order in meanwhile:
        eventually(order, "delivered")
    assert client.get("/healthz").json()["broker"] == "ok"
    assert "Traceback" not in in_haste.log.read_text()
    _nobody_has_ended(in_haste)
    _everything_ends_well()


@pytest.mark.postgresql_only
def test_a_redis_that_comes_back_empty_loses_nothing(in_haste: ProcessRunner) -> None:
    orders = [place(CHAIR=2) for _ in range(5)]
    broker = redis.Redis.from_url(SERVERS["redis"].url)
    for order in orders:
        broker.flushall()
        purchase_order = linked_purchase_order(order)
        broker.flushall()
        receive_goods([ReceiptDraft(purchase_order_id=purchase_order.pk)])
        broker.flushall()
    broker.close()
    for order in orders:
        eventually(order, "delivered")
    _everything_ends_well()


@pytest.mark.postgresql_only
def test_a_redis_that_is_frozen_for_20_seconds_holds_nobody_up_and_loses_nothing(
    in_haste: ProcessRunner,
) -> None:
    add_stock("CHAIR", 20)
    eventually(place(CHAIR=1), "delivered")
    with SERVERS["redis"].frozen():
        thawing = time.monotonic() + 20.0
        waits = []
        for _ in range(10):
            began = time.monotonic()
            place(CHAIR=1)
            waits.append(time.monotonic() - began)
        assert max(waits) < 3 * wakeups.PUBLISH_TIMEOUT
        assert sum(waits) < 4 * wakeups.PUBLISH_TIMEOUT  # only the first one has to find out
        time.sleep(max(0.0, thawing - time.monotonic()))
    assert_eventually(lambda: OrderStatus.objects.filter(status="delivered").count() == 11)
    _everything_ends_well()


@pytest.mark.postgresql_only
def test_a_wake_up_long_after_its_visibility_timeout_does_nothing_twice(
    process_runner: ProcessRunner,
) -> None:
    """A worker stops dead, holding its wake-ups; Redis gives them to another one; then the first one goes on, with its own."""
    slow = {**HASTE, "ORDERFLOW_RETRY_COUNTDOWN": "3"}
    process_runner.start(worker(), **slow)
    orders = [place(CHAIR=2) for _ in range(5)]
    purchases = [linked_purchase_order(order) for order in orders]
    receive_goods([ReceiptDraft(purchase_order_id=each.pk) for each in purchases[:4]])
    broker = redis.Redis.from_url(SERVERS["redis"].url)
    assert_eventually(lambda: _holds_nothing_but_timers(broker))
    [stopped] = process_runner.programs
    os.killpg(stopped.pid, signal.SIGSTOP)
    receive_goods([ReceiptDraft(purchase_order_id=purchases[4].pk)])
    process_runner.start(worker(), beat(), **slow)
    try:
        # If it was stopped in the middle of a batch, PostgreSQL ends its session after 30 s.
        assert_eventually(
            lambda: OrderStatus.objects.filter(status="delivered").count() == 5, seconds=60
        )
        assert_eventually(is_idle, seconds=60)
        assert_eventually(
            lambda: _all_was_handed_out_again(broker)
        )  # the other one got them, and is done with them
    finally:
        os.killpg(stopped.pid, signal.SIGCONT)
        broker.close()
    late = place(CHAIR=1)
    receive_goods([ReceiptDraft(purchase_order_id=linked_purchase_order(late).pk)])
    eventually(late, "delivered")
    _everything_ends_well()


def _all_was_handed_out_again(broker: redis.Redis) -> bool:
    """Hands out what was taken long ago and not acknowledged, as any worker does every hundred seconds."""
    impatient = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "visibility_timeout": 1}
    with app.connection_for_write(transport_options=impatient) as another:
        channel: Any = another.default_channel
        channel.qos.restore_visible(interval=1)
    return not broker.hlen("orderflow:unacked")


def _holds_nothing_but_timers(broker: redis.Redis) -> bool:
    waiting = set(QueuedMessage.objects.values_list("message__type", flat=True))
    return waiting == {"sales.RetryReservation"} and bool(broker.hlen("orderflow:unacked"))


# -- PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql_only
def test_workers_wait_for_a_database_that_is_away_and_come_back_with_one_line_each(
    in_haste: ProcessRunner, client: Client
) -> None:
    add_stock("CHAIR", 40)
    orders = [place(CHAIR=1) for _ in range(20)]
    eventually(orders[0], "delivered")
    with _postgresql_away():
        assert client.get("/healthz").status_code == 503
        assert client.get("/healthz").json() == {"database": "away", "broker": "ok"}
        connection.close()
        assert_eventually(lambda: AWAY in in_haste.log.read_text())
        time.sleep(3.0)  # so many wake-ups find no database
    orders += [place(CHAIR=1) for _ in range(20)]
    for order in orders:
        eventually(order, "delivered")
    _everything_ends_well()
    log = in_haste.log.read_text()
    assert "Traceback" not in log
    processes = 3 + 1  # a worker's children, and who may have taken the place of one
    assert 1 <= log.count(AWAY) <= processes
    assert 1 <= log.count("The database is back.") <= processes


@contextmanager
def _postgresql_away() -> Iterator[None]:
    connection.close()
    with SERVERS["postgresql"].away(signal.SIGQUIT):  # its immediate mode
        yield
    connection.close()


@pytest.mark.postgresql_only
def test_what_is_not_committed_while_others_drain_is_handed_over_once_it_is() -> None:
    """Its messages have smaller ids than what was handled meanwhile: nothing may remember only how far it came."""
    add_stock("CHAIR", 2)
    slow, quick = uuid4(), uuid4()

    def place_and_drain() -> None:
        place_orders([SalesOrderDraft(id=quick, lines=lines(CHAIR=1))])
        drain_all()
        assert OrderStatus.objects.get(order=quick).status == "delivered"

    chair = lines(CHAIR=1)
    meet(
        partial(place_orders, [SalesOrderDraft(id=slow, lines=chair)]),
        place_and_drain,
        at=(transaction, "on_commit"),
    )
    drain_all()

    assert OrderStatus.objects.get(order=slow).status == "delivered"
    first = (
        StoredMessage.objects.filter(key__in=[slow, quick])
        .order_by("id")
        .values_list("key", flat=True)[0]
    )
    assert first == slow
    _everything_ends_well()


# -- more than one, or none -----------------------------------------------------------------------------------------------


def test_two_beats_are_one_too_many_and_do_no_harm(process_runner: ProcessRunner) -> None:
    process_runner.start(worker(), beat(), beat(), **HASTE)
    order = place(CHAIR=2)
    receive_goods([ReceiptDraft(purchase_order_id=linked_purchase_order(order).pk)])
    eventually(order, "delivered")
    _everything_ends_well()
    _nobody_has_ended(process_runner)


@pytest.mark.postgresql_only
def test_four_workers_on_one_consumer_hand_over_each_message_once(
    process_runner: ProcessRunner,
) -> None:
    add_stock("CHAIR", 300)
    everybody_else = worker(queues=["stock", "purchase", "feed", "messaging"])
    process_runner.start(
        *[worker(queues=["sales"])] * 4, everybody_else, beat(), ORDERFLOW_BATCH_SIZE="5", **HASTE
    )
    for _ in range(30):
        place_orders([SalesOrderDraft(lines=lines(CHAIR=1)) for _ in range(10)])
    assert_eventually(lambda: OrderStatus.objects.filter(status="delivered").count() == 300)
    _everything_ends_well()
    _nobody_has_ended(process_runner)


@pytest.mark.local_only
def test_the_disk_of_the_filesystem_broker_may_be_wiped(in_haste: ProcessRunner) -> None:
    order = place(CHAIR=2)
    purchase_order = linked_purchase_order(order)
    shutil.rmtree(
        Path(settings.ORDERFLOW_DATA_DIR) / "broker", ignore_errors=True
    )  # the worker takes files out of it meanwhile
    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.pk)])
    eventually(order, "delivered")
    _everything_ends_well()


def test_a_message_that_kills_each_process_becomes_a_dead_letter_and_the_rest_goes_on(
    mortals: CrashingWorkers,
) -> None:
    add_stock("CHAIR", 10)
    fatal = uuid4()
    mortals.schedule_crash(fatal, "stock", "stock.MakeReservation", "poison", "worker")
    place_orders(
        [
            SalesOrderDraft(id=fatal, lines=lines(CHAIR=1)),
            *(SalesOrderDraft(lines=lines(CHAIR=1)) for _ in range(4)),
        ]
    )
    mortals.start()
    assert_eventually(
        lambda: OrderStatus.objects.filter(status="delivered").count() == 4, seconds=60
    )
    assert_eventually(QueuedMessage.objects.dead().exists, seconds=60)
    assert_eventually(lambda: not QueuedMessage.objects.backordered().exists())
    dead = QueuedMessage.objects.get()
    assert (dead.key, dead.consumer) == (fatal, "stock")
    assert dead.last_error == "It ended the process each time it was tried."
    assert_invariants(forgiving=[dead.last_error])


# -- a deploy in the middle -----------------------------------------------------------------------------------------------


def test_messages_of_another_version_are_handled_if_they_can_be_and_wait_for_a_person_if_not() -> (
    None
):
    add_stock("CHAIR", 3)
    older, newer, broken = place(CHAIR=1), place(CHAIR=1), place(CHAIR=1)
    _rewrite(
        older, lambda payload: payload.pop("allow_partial")
    )  # it was added since, with a default
    _rewrite(
        newer, lambda payload: payload.update(color="red")
    )  # who wrote it knows more than we do
    _rewrite(broken, lambda payload: payload.pop("lines"))
    drain_all()
    assert (status(older), status(newer), status(broken)) == (
        "delivered",
        "delivered",
        "awaiting_stock_reservation",
    )
    failed = QueuedMessage.objects.get()
    assert (failed.key, failed.status) == (broken.pk, QueuedMessageStatus.DEAD_LETTER)
    assert "lines" in failed.last_error


def _rewrite(order: SalesOrder, change: Callable[[dict[str, Any]], object]) -> None:
    asked = StoredMessage.objects.get(type="stock.MakeReservation", key=order.pk)
    change(asked.payload)
    asked.save()


# -- SQLite ---------------------------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.serial
def test_who_orders_beside_a_busy_drain_waits_a_moment_and_never_meets_a_locked_database(
    process_runner: ProcessRunner, admin_client: Client
) -> None:
    add_stock("CHAIR", 5000)
    place_orders([SalesOrderDraft(lines=lines(CHAIR=1)) for _ in range(3000)])
    product("CHAIR")
    process_runner.start(worker(), beat(), **HASTE)
    assert_eventually(lambda: OrderStatus.objects.filter(status="delivered").exists())
    # The best of a few rounds: what else the machine has to do meanwhile is not known.
    rounds = [_seconds_to_order(admin_client, 30) for _ in range(3) if not is_idle()]
    assert min(quantiles(each, n=20)[-1] for each in rounds) < 0.250
    assert "locked" not in process_runner.log.read_text()


def _seconds_to_order(client: Client, times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        body = {"lines": [{"sku": "CHAIR", "quantity": 1}]}
        response = client.post("/api/v1/sales/orders/", body, content_type="application/json")
        seconds.append(time.monotonic() - began)
        assert response.status_code == 201, response.content
    return seconds


# -- an orderly end -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_finishes_its_batch_and_loses_nothing(
    process_runner: ProcessRunner,
) -> None:
    add_stock("CHAIR", 400)
    place_orders([SalesOrderDraft(lines=lines(CHAIR=1)) for _ in range(400)])
    process_runner.start(worker(), beat(), ORDERFLOW_BATCH_SIZE="20", **HASTE)
    told = process_runner.programs[0]
    assert_eventually(
        lambda: bool(Consumer.objects.filter(unfinished_batches__gt=0))
    )  # in the middle of a batch
    told.terminate()
    assert told.wait(30) == 0
    assert not Consumer.objects.filter(unfinished_batches__gt=0).exists()
    log = process_runner.log.read_text()
    assert "Traceback" not in log
    process_runner.start(worker(), **HASTE)
    assert_eventually(lambda: OrderStatus.objects.filter(status="delivered").count() == 400)
    _everything_ends_well()


def _nobody_has_ended(process_runner: ProcessRunner) -> None:
    assert [program.poll() for program in process_runner.programs] == [None] * len(
        process_runner.programs
    )


def _everything_ends_well() -> None:
    assert_eventually(is_idle)
    assert_invariants()
    every_order_has_ended()
