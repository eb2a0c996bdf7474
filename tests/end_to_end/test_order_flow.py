"""Sales orders from placement to delivery, with a real worker and beat."""

import pytest
from django.db import connection

from orderflow.messaging import wakeups
from orderflow.operations.management import processes
from purchase.contract import PeggedQuantity
from purchase.services import PurchaseOrderDraft, close_short, create_purchase_orders
from sales.models import OrderStatus
from sales.services import deliver_orders
from stock.models import StockLevel
from tests.conftest import add_stock, product
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import (
    assert_invariants,
    countdowns,
    eventually,
    level,
    linked_purchase_order,
    ordered_quantities,
    place,
    published,
    receive,
    request_numbers,
    reserved_quantity,
    status,
)


def test_available_stock_is_delivered_at_once(worker: ProcessRunner) -> None:
    add_stock(chair=5)
    order = place(chair=2)
    eventually(order, "delivered")
    assert_invariants()
    assert level("chair") == (3, 0)


def test_manual_order_is_shipped_when_a_user_delivers_it(worker: ProcessRunner) -> None:
    add_stock(chair=5)
    order = place("manual", chair=2)
    eventually(order, "deliverable")
    assert level("chair") == (5, 2)
    deliver_orders([order.id], actor="Grace")
    assert_eventually(lambda: level("chair") == (3, 0))
    assert_invariants()


def test_partial_receipts_complete_the_order(worker: ProcessRunner) -> None:
    order = place(desk=4)
    purchase_order = linked_purchase_order(order)
    receive(purchase_order, desk=3)
    assert_eventually(lambda: reserved_quantity(order) == 3)
    assert status(order) == "awaiting_goods_received"
    receive(purchase_order)
    eventually(order, "delivered")
    assert_invariants()


def test_last_unit_goes_to_the_first_of_two_orders(worker: ProcessRunner) -> None:
    add_stock(lamp=1)
    first, second = place(lamp=1), place(lamp=1)
    eventually(first, "delivered")
    receive(linked_purchase_order(second))
    eventually(second, "delivered")
    assert_invariants()
    assert level("lamp") == (0, 0)


def test_receipt_without_backorders_becomes_available(worker: ProcessRunner) -> None:
    line = PeggedQuantity(product_id=product("lamp"), quantity=10)
    [purchase_order] = create_purchase_orders([PurchaseOrderDraft(lines=[line])])
    receive(purchase_order)
    assert_eventually(StockLevel.objects.filter(product__sku="lamp", on_hand=10).exists)
    assert_invariants()
    assert not OrderStatus.objects.exists()


def test_pegged_goods_go_neither_to_older_nor_to_newer_orders(worker: ProcessRunner) -> None:
    older = place(chair=2)
    linked_purchase_order(older)
    pegged = place("manual", chair=2)
    receive(linked_purchase_order(pegged))
    newer = place("manual", chair=1)
    eventually(pegged, "deliverable")
    eventually(newer, "awaiting_goods_received")
    assert status(older) == "awaiting_goods_received"
    reserved = [reserved_quantity(order) for order in (older, pegged, newer)]
    assert reserved == [0, 2, 0]


def test_sweep_replaces_lost_wake_ups(
    worker: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_stock(chair=5)
    monkeypatch.setattr(wakeups, "_skip_broker_until", float("inf"))  # sends no wake-up
    order = place(chair=2)
    eventually(order, "delivered")
    assert_invariants()


@pytest.mark.postgresql_only
def test_worker_reconnects_after_its_sessions_end(worker: ProcessRunner) -> None:
    # Fails without `close_stale_connections`: no further message is handled.
    add_stock(chair=5)
    eventually(place(chair=2), "delivered")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount >= 1
    eventually(place(chair=2), "delivered")
    assert_invariants()


def test_retry_is_postponed_until_stock_has_caught_up(process_runner: ProcessRunner) -> None:
    other_worker = processes.worker(queues=["sales", "purchase", "feed", "messaging"])
    process_runner.start(other_worker, processes.beat(), ORDERFLOW_RETRY_COUNTDOWN="0.2")
    stock_worker = processes.worker(queues=["stock"])
    with process_runner.start(stock_worker):
        complete, short = place(chair=3), place(desk=5)
        complete_purchase = linked_purchase_order(complete)
        short_purchase = linked_purchase_order(short)

    # The worker of Stock is stopped.
    receive(complete_purchase)
    receive(short_purchase, desk=2)
    close_short([short_purchase.id], actor="Anna")

    for order in (complete, short):
        assert_eventually(lambda order=order: len(countdowns(order)) >= 4)  # type: ignore[misc]
        assert countdowns(order)[:4] == [0.2, 0.4, 0.8, 1.6]
        assert status(order) == "awaiting_stock_reservation"
        assert request_numbers(order) == [1]
    assert (ordered_quantities("chair"), ordered_quantities("desk")) == ([3], [5])

    process_runner.start(stock_worker)
    eventually(complete, "delivered")
    receive(linked_purchase_order(short))
    eventually(short, "delivered")
    assert_invariants()
    assert (ordered_quantities("chair"), ordered_quantities("desk")) == ([3], [5, 3])
    assert published("sales.SalesOrderDelivered") == 2
