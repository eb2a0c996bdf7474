"""Orders are cancelled and changed, and suppliers deliver less or late, with a real worker."""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.core.errors import DomainError
from orderflow.messaging.queries import is_idle
from orderflow.operations.management import processes
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderHistoryEntry
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    receive_goods,
    reschedule,
)
from sales.models import OrderStatus, OrderStatusChange
from sales.services import (
    SalesOrderDraft,
    cancel_orders,
    change_order,
    deliver_orders,
    place_orders,
    retry_reservations,
)
from stock.models import Reservation, StockLevel
from stock.services import Reversal, reverse_receipt
from tests.conftest import add_stock, lines, product
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import (
    assert_invariants,
    eventually,
    level,
    linked_purchase_order,
    ordered_quantities,
    place,
    published,
    receive,
    reserved_quantity,
)

SHORT_INTERVALS = {"ORDERFLOW_RETRY_COUNTDOWN": "0.1", "ORDERFLOW_OVERDUE_CHECK_INTERVAL": "1"}


def start_worker(process_runner: ProcessRunner, **env: str) -> None:
    process_runner.start(processes.worker(), processes.beat(), **{**SHORT_INTERVALS, **env})


def purchase_order_status(purchase_order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=purchase_order.id).status


# -- cancel --------------------------------------------------------------------------------------


def test_cancelled_order_releases_stock_and_its_purchase_order(worker: ProcessRunner) -> None:
    add_stock(chair=5)
    reserved = place("manual", chair=5)
    eventually(reserved, "deliverable")
    backordered = place(chair=4)
    awaiting = place(desk=2)
    withdrawn = linked_purchase_order(awaiting)

    cancel_orders([reserved.id, awaiting.id], actor="Grace", reason="ordered twice")

    eventually(backordered, "delivered")
    assert_eventually(lambda: purchase_order_status(withdrawn) == "cancelled")
    assert_invariants()
    assert level("chair") == (1, 0)
    last = OrderStatusChange.objects.filter(order_status=reserved.id).latest("id")
    assert (last.to_status, last.actor, last.reason) == ("cancelled", "Grace", "ordered twice")


def test_withdrawn_order_is_kept_after_partial_receipt(worker: ProcessRunner) -> None:
    cancelled = place(desk=4)
    kept = linked_purchase_order(cancelled)
    receive(kept, desk=1)
    assert_eventually(lambda: reserved_quantity(cancelled) == 1)
    backordered = place(desk=3)
    linked_purchase_order(backordered)

    cancel_orders([cancelled.id], actor="Grace")

    assert_eventually(lambda: reserved_quantity(backordered) == 1)
    history = PurchaseOrderHistoryEntry.objects.filter(order=kept)
    assert_eventually(history.exists)
    assert "kept after a partial receipt" in history.get().description
    assert purchase_order_status(kept) == "partially_received"
    receive(kept)
    eventually(backordered, "delivered")
    assert_invariants()
    assert level("desk") == (1, 0)


def test_withdraw_policy_keeps_or_cancels_purchase_orders(
    process_runner: ProcessRunner, settings: Settings
) -> None:
    settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = "never"  # this process cancels the order
    # The worker handles the messages.
    start_worker(process_runner, ORDERFLOW_WITHDRAW_PURCHASE_ORDERS="when_unneeded")
    cancelled = place(desk=2)
    kept = linked_purchase_order(cancelled)
    cancel_orders([cancelled.id], actor="Grace")
    backordered = place(desk=2)
    unneeded = linked_purchase_order(backordered)
    assert purchase_order_status(kept) == "open"
    receive(kept)  # is allocated to the backorder
    eventually(backordered, "delivered")
    assert_eventually(lambda: purchase_order_status(unneeded) == "cancelled")
    assert_invariants()


def test_decisions_at_any_time_leave_no_reserved_stock(worker: ProcessRunner) -> None:
    """Orders are changed, delivered, received for and cancelled while the worker is busy."""
    draw = random.Random(7)
    add_stock(chair=50)
    rejected = 0
    for _ in range(60):
        draft = SalesOrderDraft(
            lines=lines(chair=draw.randint(1, 4)),
            delivery_mode=draw.choice(["automatic", "manual"]),
        )
        place_orders([draft])
        new_lines = lines(chair=draw.randint(1, 4), lamp=1)
        acts: list[Callable[[], object]] = [
            partial(cancel_orders, [draft.id], actor="Grace"),
            partial(change_order, draft.id, new_lines, actor="Grace"),
            partial(deliver_orders, [draft.id], actor="Grace"),
            _receive_oldest,
        ]
        for act in draw.sample(acts, 2):
            try:
                act()
            except DomainError:
                rejected += 1
    assert rejected
    assert_eventually(is_idle)
    remaining = OrderStatus.objects.exclude(status__in=["delivered", "cancelled"])
    cancel_orders(list(remaining.values_list("pk", flat=True)), actor="Grace")
    assert_invariants()
    assert set(OrderStatus.objects.values_list("status", flat=True)) == {"delivered", "cancelled"}
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped", "released"}
    assert level("chair")[1] == 0


def _receive_oldest() -> None:
    if oldest := PurchaseOrder.objects.open().order_by("ordered_at").first():
        receive(oldest)


# -- change --------------------------------------------------------------------------------------


def test_increased_line_purchases_only_the_difference(worker: ProcessRunner) -> None:
    order = place(desk=3)
    first = linked_purchase_order(order)
    change_order(order.id, lines(desk=5, lamp=1), actor="Grace", reason="larger office")
    assert_eventually(lambda: ordered_quantities("desk") == [3, 2])
    assert_eventually(lambda: ordered_quantities("lamp") == [1])
    receive(first)
    assert_eventually(lambda: reserved_quantity(order) == 3)
    receive(linked_purchase_order(order, after=first))
    eventually(order, "delivered")
    assert_invariants()
    assert ordered_quantities("desk") == [3, 2]
    assert level("desk") == (0, 0)


def test_reduced_line_releases_surplus_to_backorders(worker: ProcessRunner) -> None:
    add_stock(chair=5)
    order = place("manual", chair=5)
    eventually(order, "deliverable")
    backordered = place(chair=2)
    linked_purchase_order(backordered)
    change_order(order.id, lines(chair=3), actor="Grace")
    eventually(backordered, "delivered")
    eventually(order, "deliverable")
    assert_invariants()
    assert level("chair") == (3, 3)


# -- purchase orders -----------------------------------------------------------------------------


def test_undelivered_goods_are_purchased_again_once(worker: ProcessRunner) -> None:
    order = place(desk=5)
    short = linked_purchase_order(order)
    receive(short, desk=2)
    close_short([short.id], actor="Anna", reason="sold out")
    assert_eventually(lambda: ordered_quantities("desk") == [5, 3])
    cancelled = linked_purchase_order(order)
    cancel_purchase_orders([cancelled.id], actor="Anna", reason="sold out")
    assert_eventually(lambda: ordered_quantities("desk") == [5, 3, 3])
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()
    assert level("desk") == (0, 0)


def test_purchase_limit_sets_needs_attention_until_retry(process_runner: ProcessRunner) -> None:
    start_worker(process_runner, ORDERFLOW_MAX_REPURCHASES="1")
    order = place(desk=1)
    first = linked_purchase_order(order)
    cancel_purchase_orders([first.id], actor="Anna")
    second = linked_purchase_order(order, after=first)
    cancel_purchase_orders([second.id], actor="Anna")
    assert_eventually(lambda: OrderStatus.objects.get(order=order).needs_attention)
    assert_eventually(is_idle)
    assert published("sales.SalesOrderNeedsAttention") == 1
    retry_reservations([order.id], actor="Grace", reason="new supplier")
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()


def test_receipt_reversal_removes_available_stock(worker: ProcessRunner) -> None:
    desk = product("desk")
    draft = PurchaseOrderDraft(lines=[PeggedQuantity(product_id=desk, quantity=5)])
    [purchase_order] = create_purchase_orders([draft])
    [receipt] = receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id)])
    assert_eventually(StockLevel.objects.filter(on_hand=5).exists)
    reversal = Reversal(receipt_id=receipt.id, product_id=desk, quantity=3, reason="empty box")
    reverse_receipt(reversal, actor="Anna")
    assert level("desk") == (2, 0)
    assert_eventually(lambda: purchase_order_status(purchase_order) == "closed_short")
    order = place(desk=4)
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()
    assert level("desk") == (2, 0)


# -- overdue -------------------------------------------------------------------------------------


def test_overdue_goods_mark_the_order_overdue_once(process_runner: ProcessRunner) -> None:
    order = place(desk=1)
    start_worker(process_runner, ORDERFLOW_LEAD_TIME="0s", ORDERFLOW_GOODS_OVERDUE_AFTER="1s")
    purchase_order = linked_purchase_order(order)
    assert_eventually(lambda: PurchaseOrder.objects.get(id=purchase_order.id).overdue)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    assert_eventually(is_idle)
    assert published("purchase.PurchaseOrderOverdue") == 1
    assert published("sales.SalesOrderOverdue") == 1
    receive(purchase_order)
    eventually(order, "delivered")
    assert not OrderStatus.objects.get(order=order).overdue
    assert_invariants()


def test_undelivered_manual_order_becomes_overdue_once(process_runner: ProcessRunner) -> None:
    start_worker(process_runner, ORDERFLOW_DELIVERY_OVERDUE_AFTER="1s")
    add_stock(chair=1)
    order = place("manual", chair=1)
    eventually(order, "deliverable")
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    deliver_orders([order.id], actor="Grace")
    assert_invariants()
    assert published("sales.SalesOrderOverdue") == 1


def test_rescheduled_goods_are_not_overdue(process_runner: ProcessRunner) -> None:
    order = place(desk=1)
    start_worker(process_runner, ORDERFLOW_LEAD_TIME="0s")
    purchase_order = linked_purchase_order(order)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    tomorrow = timezone.now() + timedelta(days=1)
    reschedule(purchase_order.id, tomorrow, actor="Anna", reason="ship delayed")
    assert_eventually(lambda: not OrderStatus.objects.get(order=order).overdue)
    assert_invariants()
