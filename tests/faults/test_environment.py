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
from orderflow.management.processes import beat, worker
from orderflow.messaging import waking
from orderflow.messaging.models import Consumer, Delivery, DeliveryState, StoredMessage
from orderflow.messaging.queries import is_quiet
from purchase.services import Arrival, receive_goods
from sales.models import OrderStatus, SalesOrder
from sales.services import NewOrder, place_orders
from tests.concurrency.threads import meet
from tests.conftest import lines, product, settle
from tests.faults.conftest import HASTE, Mortals
from tests.faults.invariants import all_is_well, every_order_has_ended
from tests.journeys.conftest import Workshop, assert_eventually
from tests.journeys.shop import bought_for, eventually, place, put_on_the_shelf, state
from tests.servers import SERVERS

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = "The database is away"


@pytest.fixture
def in_haste(workshop: Workshop) -> Workshop:
    workshop.start(worker(), beat(), **HASTE)
    return workshop


# -- Redis ----------------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_orders_that_are_placed_while_the_broker_is_down_are_accepted_and_move_when_it_is_back(
    in_haste: Workshop, client: Client
) -> None:
    put_on_the_shelf("CHAIR", 20)
    before = place(CHAIR=1)
    eventually(before, "delivered")
    held = place(CHAIR=100)  # its timer is held by the worker when Redis goes
    receive_goods([Arrival(purchase_order_id=bought_for(held).pk)])
    with redis.Redis.from_url(SERVERS["redis"].url) as broker:
        assert_eventually(lambda: bool(broker.hlen("orderflow:unacked")))
    with SERVERS["redis"].away(signal.SIGKILL):
        began = time.monotonic()
        meanwhile = [place(CHAIR=1) for _ in range(10)]
        assert time.monotonic() - began < 2.0
        health = client.get("/healthz")
        assert (health.status_code, health.json()["broker"], health.json()["database"]) == (200, "away", "ok")
        assert time.monotonic() - began < 3.0
    for order in meanwhile:
        eventually(order, "delivered")
    assert client.get("/healthz").json()["broker"] == "ok"
    assert "Traceback" not in in_haste.log.read_text()
    _nobody_has_ended(in_haste)
    _everything_ends_well()


@pytest.mark.postgresql
def test_a_redis_that_comes_back_empty_loses_nothing(in_haste: Workshop) -> None:
    orders = [place(CHAIR=2) for _ in range(5)]
    broker = redis.Redis.from_url(SERVERS["redis"].url)
    for order in orders:
        broker.flushall()
        purchase_order = bought_for(order)
        broker.flushall()
        receive_goods([Arrival(purchase_order_id=purchase_order.pk)])
        broker.flushall()
    broker.close()
    for order in orders:
        eventually(order, "delivered")
    _everything_ends_well()


@pytest.mark.postgresql
def test_a_redis_that_is_frozen_for_20_seconds_holds_nobody_up_and_loses_nothing(in_haste: Workshop) -> None:
    put_on_the_shelf("CHAIR", 20)
    eventually(place(CHAIR=1), "delivered")
    with SERVERS["redis"].frozen():
        thawing = time.monotonic() + 20.0
        waits = []
        for _ in range(10):
            began = time.monotonic()
            place(CHAIR=1)
            waits.append(time.monotonic() - began)
        assert max(waits) < 3 * waking.PUBLISH_TIMEOUT
        assert sum(waits) < 4 * waking.PUBLISH_TIMEOUT  # only the first one has to find out
        time.sleep(max(0.0, thawing - time.monotonic()))
    assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").count() == 11)
    _everything_ends_well()


@pytest.mark.postgresql
def test_a_wake_up_long_after_its_visibility_timeout_does_nothing_twice(workshop: Workshop) -> None:
    """A worker stops dead, holding its wake-ups; Redis gives them to another one; then the first one goes on, with its own."""
    slow = {**HASTE, "ORDERFLOW_FIRST_COUNTDOWN": "3"}
    workshop.start(worker(), **slow)
    orders = [place(CHAIR=2) for _ in range(5)]
    purchases = [bought_for(order) for order in orders]
    receive_goods([Arrival(purchase_order_id=each.pk) for each in purchases[:4]])
    broker = redis.Redis.from_url(SERVERS["redis"].url)
    assert_eventually(lambda: _holds_nothing_but_timers(broker))
    [stopped] = workshop.programs
    os.killpg(stopped.pid, signal.SIGSTOP)
    receive_goods([Arrival(purchase_order_id=purchases[4].pk)])
    workshop.start(worker(), beat(), **slow)
    try:
        # If it was stopped in the middle of a batch, PostgreSQL ends its session after 30 s.
        assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").count() == 5, seconds=60)
        assert_eventually(is_quiet, seconds=60)
        assert_eventually(lambda: _all_was_handed_out_again(broker))  # the other one got them, and is done with them
    finally:
        os.killpg(stopped.pid, signal.SIGCONT)
        broker.close()
    late = place(CHAIR=1)
    receive_goods([Arrival(purchase_order_id=bought_for(late).pk)])
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
    waiting = set(Delivery.objects.values_list("message__type", flat=True))
    return waiting == {"sales.RetryReservation"} and bool(broker.hlen("orderflow:unacked"))


# -- PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_workers_wait_for_a_database_that_is_away_and_come_back_with_one_line_each(in_haste: Workshop, client: Client) -> None:
    put_on_the_shelf("CHAIR", 40)
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


@pytest.mark.postgresql
def test_what_is_not_committed_while_others_drain_is_handed_over_once_it_is() -> None:
    """Its messages have smaller ids than what was handled meanwhile: nothing may remember only how far it came."""
    put_on_the_shelf("CHAIR", 2)
    slow, quick = uuid4(), uuid4()

    def place_and_drain() -> None:
        place_orders([NewOrder(id=quick, lines=lines(CHAIR=1))])
        settle()
        assert OrderStatus.objects.get(order=quick).state == "delivered"

    chair = lines(CHAIR=1)
    meet(partial(place_orders, [NewOrder(id=slow, lines=chair)]), place_and_drain, at=(transaction, "on_commit"))
    settle()

    assert OrderStatus.objects.get(order=slow).state == "delivered"
    first = StoredMessage.objects.filter(key__in=[slow, quick]).order_by("id").values_list("key", flat=True)[0]
    assert first == slow
    _everything_ends_well()


# -- more than one, or none -----------------------------------------------------------------------------------------------


def test_two_beats_are_one_too_many_and_do_no_harm(workshop: Workshop) -> None:
    workshop.start(worker(), beat(), beat(), **HASTE)
    order = place(CHAIR=2)
    receive_goods([Arrival(purchase_order_id=bought_for(order).pk)])
    eventually(order, "delivered")
    _everything_ends_well()
    _nobody_has_ended(workshop)


@pytest.mark.postgresql
def test_four_workers_on_one_consumer_hand_over_each_message_once(workshop: Workshop) -> None:
    put_on_the_shelf("CHAIR", 300)
    everybody_else = worker(queues=["stock", "purchase", "feed", "messaging"])
    workshop.start(*[worker(queues=["sales"])] * 4, everybody_else, beat(), ORDERFLOW_BATCH="5", **HASTE)
    for _ in range(30):
        place_orders([NewOrder(lines=lines(CHAIR=1)) for _ in range(10)])
    assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").count() == 300)
    _everything_ends_well()
    _nobody_has_ended(workshop)


@pytest.mark.embedded
def test_the_disk_of_the_filesystem_broker_may_be_wiped(in_haste: Workshop) -> None:
    order = place(CHAIR=2)
    purchase_order = bought_for(order)
    shutil.rmtree(Path(settings.VAR) / "broker", ignore_errors=True)  # the worker takes files out of it meanwhile
    receive_goods([Arrival(purchase_order_id=purchase_order.pk)])
    eventually(order, "delivered")
    _everything_ends_well()


def test_a_message_that_kills_each_process_becomes_a_dead_letter_and_the_rest_goes_on(mortals: Mortals) -> None:
    put_on_the_shelf("CHAIR", 10)
    fatal = uuid4()
    mortals.destine(fatal, "stock", "stock.MakeReservation", "poison", "worker")
    place_orders([NewOrder(id=fatal, lines=lines(CHAIR=1)), *(NewOrder(lines=lines(CHAIR=1)) for _ in range(4))])
    mortals.start()
    assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").count() == 4, seconds=60)
    assert_eventually(Delivery.objects.dead().exists, seconds=60)
    assert_eventually(lambda: not Delivery.objects.waiting().exists())
    dead = Delivery.objects.get()
    assert (dead.key, dead.consumer) == (fatal, "stock")
    assert dead.last_error == "It ended the process each time it was tried."
    all_is_well(forgiving=[dead.last_error])


# -- a deploy in the middle -----------------------------------------------------------------------------------------------


def test_messages_of_another_version_are_handled_if_they_can_be_and_wait_for_a_person_if_not() -> None:
    put_on_the_shelf("CHAIR", 3)
    older, newer, broken = place(CHAIR=1), place(CHAIR=1), place(CHAIR=1)
    _rewrite(older, lambda payload: payload.pop("hold_parts"))  # it was added since, with a default
    _rewrite(newer, lambda payload: payload.update(color="red"))  # who wrote it knows more than we do
    _rewrite(broken, lambda payload: payload.pop("lines"))
    settle()
    assert (state(older), state(newer), state(broken)) == ("delivered", "delivered", "awaiting_stock_reservation")
    failed = Delivery.objects.get()
    assert (failed.key, failed.state) == (broken.pk, DeliveryState.DEAD)
    assert "lines" in failed.last_error


def _rewrite(order: SalesOrder, change: Callable[[dict[str, Any]], object]) -> None:
    asked = StoredMessage.objects.get(type="stock.MakeReservation", key=order.pk)
    change(asked.payload)
    asked.save()


# -- SQLite ---------------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
@pytest.mark.alone
def test_who_orders_beside_a_busy_drain_waits_a_moment_and_never_meets_a_locked_database(
    workshop: Workshop, admin_client: Client
) -> None:
    put_on_the_shelf("CHAIR", 5000)
    place_orders([NewOrder(lines=lines(CHAIR=1)) for _ in range(3000)])
    product("CHAIR")
    workshop.start(worker(), beat(), **HASTE)
    assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").exists())
    # The best of a few rounds: what else the machine has to do meanwhile is not known.
    rounds = [_seconds_to_order(admin_client, 30) for _ in range(3) if not is_quiet()]
    assert min(quantiles(each, n=20)[-1] for each in rounds) < 0.250
    assert "locked" not in workshop.log.read_text()


def _seconds_to_order(client: Client, times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        body = {"lines": [{"sku": "CHAIR", "quantity": 1}]}
        response = client.post("/api/sales/orders/", body, content_type="application/json")
        seconds.append(time.monotonic() - began)
        assert response.status_code == 201, response.content
    return seconds


# -- an orderly end -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_finishes_its_batch_and_loses_nothing(workshop: Workshop) -> None:
    put_on_the_shelf("CHAIR", 400)
    place_orders([NewOrder(lines=lines(CHAIR=1)) for _ in range(400)])
    workshop.start(worker(), beat(), ORDERFLOW_BATCH="20", **HASTE)
    told = workshop.programs[0]
    assert_eventually(lambda: bool(Consumer.objects.filter(unfinished__gt=0)))  # in the middle of a batch
    told.terminate()
    assert told.wait(30) == 0
    assert not Consumer.objects.filter(unfinished__gt=0).exists()
    log = workshop.log.read_text()
    assert "Traceback" not in log
    workshop.start(worker(), **HASTE)
    assert_eventually(lambda: OrderStatus.objects.filter(state="delivered").count() == 400)
    _everything_ends_well()


def _nobody_has_ended(workshop: Workshop) -> None:
    assert [program.poll() for program in workshop.programs] == [None] * len(workshop.programs)


def _everything_ends_well() -> None:
    assert_eventually(is_quiet)
    all_is_well()
    every_order_has_ended()
