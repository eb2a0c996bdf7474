"""Orders on their way through a real worker, with beat."""

import pytest
from django.db import connection

from orderflow.management import processes
from orderflow.messaging import waking
from orderflow.messaging.models import StoredMessage
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import Arrival, NewPurchaseOrder, create_purchase_orders, receive_goods
from sales.models import OrderStatus
from sales.services import deliver_orders
from stock.models import Balance
from tests.conftest import lines, product
from tests.journeys.conftest import Workshop, assert_eventually
from tests.journeys.shop import (
    assert_all_is_well,
    bought_for,
    countdowns,
    eventually,
    held,
    level,
    place,
    put_on_the_shelf,
    requests,
    state,
)


def test_enough_lies_on_the_shelf(worker: Workshop) -> None:
    put_on_the_shelf("chair", 5)
    order = place(chair=2)
    eventually(order, "delivered")
    assert_all_is_well()
    assert level("chair") == (3, 0)


def test_goods_arrive_in_two_parts(worker: Workshop) -> None:
    order = place(desk=4)
    purchase_order = bought_for(order)
    receive_goods([Arrival(purchase_order_id=purchase_order.id, lines=lines(desk=3))])
    assert_eventually(lambda: held(order) == 3)
    assert state(order) == "awaiting_goods_received"
    receive_goods([Arrival(purchase_order_id=purchase_order.id)])
    eventually(order, "delivered")
    assert_all_is_well()


def test_two_orders_for_the_last_unit(worker: Workshop) -> None:
    put_on_the_shelf("lamp", 1)
    lucky, unlucky = place(lamp=1), place(lamp=1)
    eventually(lucky, "delivered")
    receive_goods([Arrival(purchase_order_id=bought_for(unlucky).id)])
    eventually(unlucky, "delivered")
    assert_all_is_well()
    assert level("lamp") == (0, 0)


def test_goods_that_no_order_waits_for_lie_on_the_shelf(worker: Workshop) -> None:
    shelf = PeggedQuantity(product_id=product("shelf"), quantity=10)
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[shelf])])
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert_eventually(lambda: Balance.objects.filter(product__sku="shelf", on_hand=10).exists())
    assert_all_is_well()
    assert not OrderStatus.objects.exists()


def test_an_order_with_manual_delivery_leaves_the_shelf_when_a_person_says_so(worker: Workshop) -> None:
    put_on_the_shelf("chair", 5)
    order = place("manual", chair=2)
    eventually(order, "deliverable")
    assert level("chair") == (5, 2)
    deliver_orders([order.id], by="Grace")
    assert_eventually(lambda: level("chair") == (3, 0))
    assert_all_is_well()


def test_goods_for_a_waiting_order_cannot_be_taken_by_a_newer_one(worker: Workshop) -> None:
    waiting = place("manual", chair=2)
    purchase_order = bought_for(waiting)
    receive_goods([Arrival(purchase_order_id=purchase_order.id)])
    newer = place("manual", chair=1)
    eventually(waiting, "deliverable")
    eventually(newer, "awaiting_goods_received")
    assert (held(waiting), held(newer)) == (2, 0)


def test_pegged_goods_go_to_their_own_order_although_an_older_one_waits(worker: Workshop) -> None:
    older = place(chair=2)
    newer = place(chair=2)
    bought_for(older)
    receive_goods([Arrival(purchase_order_id=bought_for(newer).id)])
    eventually(newer, "delivered")
    assert state(older) == "awaiting_goods_received"
    assert held(older) == 0


def test_lost_wake_ups_are_made_good_by_the_sweep(worker: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf("chair", 5)
    monkeypatch.setattr(waking, "_silent_until", float("inf"))  # this process rings no alarm
    order = place(chair=2)
    eventually(order, "delivered")
    assert_all_is_well()


@pytest.mark.postgresql
def test_a_worker_whose_sessions_the_database_ended_comes_back_by_itself(worker: Workshop) -> None:
    # Seen to fail without `look_after_the_database_connection`: nothing is ever handled again.
    put_on_the_shelf("chair", 5)
    eventually(place(chair=2), "delivered")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount >= 1
    eventually(place(chair=2), "delivered")
    assert_all_is_well()


def test_a_receipt_while_stocks_worker_is_stopped_is_retried_in_vain_until_stock_has_caught_up(workshop: Workshop) -> None:
    everybody_else = processes.worker(queues=["sales", "purchase", "feed", "messaging"])
    workshop.start(everybody_else, processes.beat(), ORDERFLOW_FIRST_COUNTDOWN="0.2")
    with workshop.start(processes.worker(queues=["stock"])):
        order = place(chair=3)
        purchase_order = bought_for(order)

    receive_goods([Arrival(purchase_order_id=purchase_order.id)])  # and Stock's worker is stopped

    assert_eventually(lambda: len(countdowns()) >= 4)
    assert countdowns()[:4] == [0.2, 0.4, 0.8, 1.6]
    assert state(order) == "awaiting_stock_reservation"
    assert requests() == [1]  # it asked, and sent nothing

    workshop.start(processes.worker(queues=["stock"]))
    eventually(order, "delivered")
    assert_all_is_well()
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1
    assert PurchaseOrder.objects.count() == 1
