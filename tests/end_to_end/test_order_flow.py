"""Orders on their way through a real worker, with beat."""

import pytest
from django.db import connection

from orderflow.messaging import wakeups
from orderflow.messaging.models import StoredMessage
from orderflow.operations.management import processes
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    create_purchase_orders,
    receive_goods,
)
from sales.models import OrderStatus
from sales.services import deliver_orders
from stock.models import StockLevel
from tests.conftest import lines, product
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import (
    add_stock,
    assert_invariants,
    countdowns,
    eventually,
    level,
    linked_purchase_order,
    place,
    request_numbers,
    reserved_quantity,
    status,
)


def test_enough_lies_on_the_shelf(worker: ProcessRunner) -> None:
    add_stock("chair", 5)
    order = place(chair=2)
    eventually(order, "delivered")
    assert_invariants()
    assert level("chair") == (3, 0)


def test_goods_arrive_in_two_parts(worker: ProcessRunner) -> None:
    order = place(desk=4)
    purchase_order = linked_purchase_order(order)
    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id, lines=lines(desk=3))])
    assert_eventually(lambda: reserved_quantity(order) == 3)
    assert status(order) == "awaiting_goods_received"
    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id)])
    eventually(order, "delivered")
    assert_invariants()


def test_two_orders_for_the_last_unit(worker: ProcessRunner) -> None:
    add_stock("lamp", 1)
    lucky, unlucky = place(lamp=1), place(lamp=1)
    eventually(lucky, "delivered")
    receive_goods([ReceiptDraft(purchase_order_id=linked_purchase_order(unlucky).id)])
    eventually(unlucky, "delivered")
    assert_invariants()
    assert level("lamp") == (0, 0)


def test_goods_that_no_order_waits_for_lie_on_the_shelf(worker: ProcessRunner) -> None:
    shelf = PeggedQuantity(product_id=product("shelf"), quantity=10)
    [order] = create_purchase_orders([PurchaseOrderDraft(lines=[shelf])])
    receive_goods([ReceiptDraft(purchase_order_id=order.id)])
    assert_eventually(lambda: StockLevel.objects.filter(product__sku="shelf", on_hand=10).exists())
    assert_invariants()
    assert not OrderStatus.objects.exists()


def test_an_order_with_manual_delivery_leaves_the_shelf_when_a_person_says_so(
    worker: ProcessRunner,
) -> None:
    add_stock("chair", 5)
    order = place("manual", chair=2)
    eventually(order, "deliverable")
    assert level("chair") == (5, 2)
    deliver_orders([order.id], actor="Grace")
    assert_eventually(lambda: level("chair") == (3, 0))
    assert_invariants()


def test_goods_for_a_waiting_order_cannot_be_taken_by_a_newer_one(worker: ProcessRunner) -> None:
    waiting = place("manual", chair=2)
    purchase_order = linked_purchase_order(waiting)
    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id)])
    newer = place("manual", chair=1)
    eventually(waiting, "deliverable")
    eventually(newer, "awaiting_goods_received")
    assert (reserved_quantity(waiting), reserved_quantity(newer)) == (2, 0)


def test_pegged_goods_go_to_their_own_order_although_an_older_one_waits(
    worker: ProcessRunner,
) -> None:
    older = place(chair=2)
    newer = place(chair=2)
    linked_purchase_order(older)
    receive_goods([ReceiptDraft(purchase_order_id=linked_purchase_order(newer).id)])
    eventually(newer, "delivered")
    assert status(older) == "awaiting_goods_received"
    assert reserved_quantity(older) == 0


def test_lost_wake_ups_are_made_good_by_the_sweep(
    worker: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_stock("chair", 5)
    monkeypatch.setattr(wakeups, "_skip_broker_until", float("inf"))  # this process rings no alarm
    order = place(chair=2)
    eventually(order, "delivered")
    assert_invariants()


@pytest.mark.postgresql_only
def test_a_worker_whose_sessions_the_database_ended_comes_back_by_itself(
    worker: ProcessRunner,
) -> None:
    # Seen to fail without `close_stale_connections`: nothing is ever handled again.
    add_stock("chair", 5)
    eventually(place(chair=2), "delivered")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount >= 1
    eventually(place(chair=2), "delivered")
    assert_invariants()


def test_a_receipt_while_stocks_worker_is_stopped_is_retried_in_vain_until_stock_has_caught_up(
    process_runner: ProcessRunner,
) -> None:
    everybody_else = processes.worker(queues=["sales", "purchase", "feed", "messaging"])
    process_runner.start(everybody_else, processes.beat(), ORDERFLOW_RETRY_COUNTDOWN="0.2")
    with process_runner.start(processes.worker(queues=["stock"])):
        order = place(chair=3)
        purchase_order = linked_purchase_order(order)

    receive_goods(
        [ReceiptDraft(purchase_order_id=purchase_order.id)]
    )  # and Stock's worker is stopped

    assert_eventually(lambda: len(countdowns()) >= 4)
    assert countdowns()[:4] == [0.2, 0.4, 0.8, 1.6]
    assert status(order) == "awaiting_stock_reservation"
    assert request_numbers() == [1]  # it asked, and sent nothing

    process_runner.start(processes.worker(queues=["stock"]))
    eventually(order, "delivered")
    assert_invariants()
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1
    assert PurchaseOrder.objects.count() == 1
