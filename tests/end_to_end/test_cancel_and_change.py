"""Orders are cancelled and changed, suppliers cancel and fall short: through a real worker, with beat."""

import random
from datetime import timedelta
from functools import partial

from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.core.errors import DomainError
from orderflow.messaging.models import StoredMessage
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
    try_again,
)
from stock.models import Reservation, StockLevel
from stock.services import Reversal, reverse_receipt
from tests.conftest import lines, product
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import (
    add_stock,
    assert_invariants,
    eventually,
    level,
    linked_purchase_order,
    place,
    request_numbers,
    reserved_quantity,
    status,
)

SOON = {"ORDERFLOW_RETRY_COUNTDOWN": "0.1", "ORDERFLOW_OVERDUE_CHECK_INTERVAL": "1"}


def receive(purchase_order: PurchaseOrder, **quantities: int) -> None:
    """A part of it arrives, or all that is still to come."""
    receive_goods(
        [ReceiptDraft(purchase_order_id=purchase_order.id, lines=lines(**quantities) or None)]
    )


def status_of(purchase_order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=purchase_order.id).status


def ordered_in_all(sku: str) -> list[int]:
    rows = PurchaseOrder.objects.order_by("ordered_at").filter(lines__product__sku=sku)
    return list(rows.values_list("lines__quantity", flat=True))


# -- cancelled ----------------------------------------------------------------------------------------------------------------


def test_what_a_cancelled_order_held_goes_to_who_waits_and_its_purchase_order_is_cancelled(
    worker: ProcessRunner,
) -> None:
    add_stock("chair", 5)
    holding = place("manual", chair=5)
    eventually(holding, "deliverable")
    waiting = place(chair=4)
    unwanted = place(desk=2)
    bought = linked_purchase_order(unwanted)

    cancel_orders([holding.id, unwanted.id], actor="Grace", reason="changed their minds")

    eventually(waiting, "delivered")
    assert_eventually(lambda: status_of(bought) == "cancelled")
    assert_invariants()
    assert level("chair") == (1, 0)
    change = OrderStatusChange.objects.filter(status=holding.id).latest("id")
    assert (change.to_status, change.actor, change.reason) == (
        "cancelled",
        "Grace",
        "changed their minds",
    )


def test_a_partly_received_purchase_order_of_a_cancelled_order_is_kept_and_says_so_and_serves_who_waits(
    worker: ProcessRunner,
) -> None:
    cancelled = place(desk=4)
    bought = linked_purchase_order(cancelled)
    receive(bought, desk=1)
    assert_eventually(lambda: reserved_quantity(cancelled) == 1)
    waiting = place(desk=3)
    linked_purchase_order(waiting)

    cancel_orders([cancelled.id], actor="Grace")

    assert_eventually(lambda: reserved_quantity(waiting) == 1)
    assert_eventually(PurchaseOrderHistoryEntry.objects.filter(order=bought).exists)
    assert (
        "kept: a part has arrived"
        in PurchaseOrderHistoryEntry.objects.get(order=bought).description
    )
    assert status_of(bought) == "partially_received"
    receive(bought)
    eventually(waiting, "delivered")
    assert_invariants()
    assert level("desk") == (1, 0)


def test_an_order_that_is_cancelled_at_any_moment_leaves_nothing_behind(
    worker: ProcessRunner,
) -> None:
    """Placed, changed, received for, delivered and cancelled while the worker is at it."""
    draw = random.Random(7)
    add_stock("chair", 50)
    orders = [
        SalesOrderDraft(
            lines=lines(chair=draw.randint(1, 4)),
            delivery_mode=draw.choice(["automatic", "manual"]),
        )
        for _ in range(60)
    ]
    refused = 0
    for order in orders:
        place_orders([order])
        for act in draw.sample(
            [
                partial(cancel_orders, [order.id], actor="Grace"),
                partial(
                    change_order, order.id, lines(chair=draw.randint(1, 4), lamp=1), actor="Grace"
                ),
                partial(deliver_orders, [order.id], actor="Grace"),
                receive_one,
            ],
            2,
        ):
            try:
                act()  # type: ignore[operator]
            except DomainError:
                refused += 1
    assert_eventually(is_idle)
    cancel_orders(
        OrderStatus.objects.exclude(status__in=["delivered", "cancelled"]).values_list(
            "pk", flat=True
        ),
        actor="Grace",
    )
    assert_invariants()
    assert set(OrderStatus.objects.values_list("status", flat=True)) == {"delivered", "cancelled"}
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped", "released"}
    assert refused
    assert level("chair")[1] == 0


def receive_one() -> None:
    first = PurchaseOrder.objects.open().order_by("ordered_at").first()
    if first:
        receive(first)


# -- changed ------------------------------------------------------------------------------------------------------------------


def test_more_is_wanted_while_goods_are_on_order_and_only_the_difference_is_bought(
    worker: ProcessRunner,
) -> None:
    order = place(desk=3)
    first = linked_purchase_order(order)
    change_order(order.id, lines(desk=5, lamp=1), actor="Grace", reason="a bigger office")
    assert_eventually(lambda: ordered_in_all("desk") == [3, 2])
    assert_eventually(lambda: ordered_in_all("lamp") == [1])
    receive(first)
    assert_eventually(lambda: reserved_quantity(order) == 3)
    receive(linked_purchase_order(order, after=first))
    eventually(order, "delivered")
    assert_invariants()
    assert ordered_in_all("desk") == [3, 2]
    assert level("desk") == (0, 0)


def test_less_is_wanted_of_what_is_promised_and_the_rest_serves_who_waits(
    worker: ProcessRunner,
) -> None:
    add_stock("chair", 5)
    order = place("manual", chair=5)
    eventually(order, "deliverable")
    waiting = place(chair=2)
    linked_purchase_order(waiting)
    change_order(order.id, lines(chair=3), actor="Grace")
    eventually(waiting, "delivered")
    eventually(order, "deliverable")
    assert_invariants()
    assert level("chair") == (3, 3)


# -- purchase orders ----------------------------------------------------------------------------------------------------------


def test_what_will_not_come_is_bought_again_once_and_exactly(worker: ProcessRunner) -> None:
    order = place(desk=5)
    short = linked_purchase_order(order)
    receive(short, desk=2)
    close_short([short.id], actor="Anna", reason="sold out")
    assert_eventually(lambda: ordered_in_all("desk") == [5, 3])
    cancel_purchase_orders(
        [linked_purchase_order(order).id], actor="Anna", reason="the supplier has none either"
    )
    assert_eventually(lambda: ordered_in_all("desk") == [5, 3, 3])
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()
    assert level("desk") == (0, 0)


def test_nothing_is_bought_again_until_stock_has_booked_what_did_come(
    process_runner: ProcessRunner,
) -> None:
    process_runner.start(
        processes.worker(queues=["sales", "purchase", "feed", "messaging"]),
        processes.beat(),
        **SOON,
    )
    with process_runner.start(processes.worker(queues=["stock"])):
        order = place(desk=5)
        short = linked_purchase_order(order)

    receive(short, desk=2)  # and Stock's worker is stopped
    close_short([short.id], actor="Anna")

    retries = StoredMessage.objects.filter(type="sales.RetryReservation")
    assert_eventually(lambda: retries.count() >= 3)
    assert status(order) == "awaiting_stock_reservation"
    assert (request_numbers(), ordered_in_all("desk")) == ([1], [5])

    process_runner.start(processes.worker(queues=["stock"]))
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()
    assert ordered_in_all("desk") == [5, 3]


def test_what_is_bought_in_vain_needs_a_person_in_the_end(process_runner: ProcessRunner) -> None:
    process_runner.start(
        processes.worker(), processes.beat(), ORDERFLOW_MAX_REPURCHASES="1", **SOON
    )
    order = place(desk=1)
    for _ in range(2):
        bought = linked_purchase_order(order)
        cancel_purchase_orders([bought.id], actor="Anna")
        assert_eventually(
            lambda: OrderStatus.objects.get(order=order).purchase_order_id != bought.id
        )  # noqa: B023
    assert_eventually(lambda: OrderStatus.objects.get(order=order).needs_attention)
    assert_eventually(is_idle)
    assert StoredMessage.objects.filter(type="sales.SalesOrderNeedsAttention").count() == 1
    try_again([order.id], actor="Grace", reason="a new supplier")
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()


def test_what_was_counted_wrongly_is_reversed_and_the_next_order_is_bought_for(
    worker: ProcessRunner,
) -> None:
    [stock] = create_purchase_orders(
        [PurchaseOrderDraft(lines=[PeggedQuantity(product_id=product("desk"), quantity=5)])]
    )
    [receipt] = receive_goods([ReceiptDraft(purchase_order_id=stock.id)])
    assert_eventually(StockLevel.objects.filter(on_hand=5).exists)
    reverse_receipt(
        Reversal(
            receipt_id=receipt.id, product_id=product("desk"), quantity=3, reason="a box was empty"
        ),
        actor="Anna",
    )
    assert level("desk") == (2, 0)
    assert_eventually(lambda: status_of(stock) == "closed_short")
    order = place(desk=4)
    receive(linked_purchase_order(order))
    eventually(order, "delivered")
    assert_invariants()
    assert level("desk") == (2, 0)


def test_purchase_orders_that_nobody_needs_are_kept_or_cancelled_as_it_is_set(
    process_runner: ProcessRunner, settings: Settings
) -> None:
    settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = "never"  # here, where a person cancels
    process_runner.start(
        processes.worker(), processes.beat(), ORDERFLOW_WITHDRAW_PURCHASE_ORDERS="unneeded"
    )  # and where messages are handled
    cancelled = place(desk=2)
    kept = linked_purchase_order(cancelled)
    cancel_orders([cancelled.id], actor="Grace")
    waiting = place(desk=2)
    not_needed = linked_purchase_order(waiting)
    assert status_of(kept) == "open"
    receive(kept)  # serves who waits
    eventually(waiting, "delivered")
    assert_eventually(lambda: status_of(not_needed) == "cancelled")
    assert_invariants()


# -- the clock ----------------------------------------------------------------------------------------------------------------


def test_an_order_is_marked_overdue_once_however_late_somebody_looks(
    process_runner: ProcessRunner,
) -> None:
    order = place(desk=1)
    process_runner.start(
        processes.worker(),
        processes.beat(),
        ORDERFLOW_LEAD_TIME="0s",
        ORDERFLOW_GOODS_OVERDUE_AFTER="1s",
        **SOON,
    )
    bought = linked_purchase_order(order)
    assert_eventually(lambda: PurchaseOrder.objects.get(id=bought.id).overdue)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    assert_eventually(is_idle)
    assert StoredMessage.objects.filter(type="purchase.PurchaseOrderOverdue").count() == 1
    assert StoredMessage.objects.filter(type="sales.SalesOrderOverdue").count() == 1
    receive(bought)
    eventually(order, "delivered")
    assert not OrderStatus.objects.get(order=order).overdue
    assert_invariants()


def test_an_order_that_a_person_should_have_delivered_long_ago_is_overdue(
    process_runner: ProcessRunner,
) -> None:
    process_runner.start(
        processes.worker(), processes.beat(), ORDERFLOW_DELIVERY_OVERDUE_AFTER="1s", **SOON
    )
    add_stock("chair", 1)
    order = place("manual", chair=1)
    eventually(order, "deliverable")
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    deliver_orders([order.id], actor="Grace")
    assert_invariants()
    assert StoredMessage.objects.filter(type="sales.SalesOrderOverdue").count() == 1


def test_goods_that_are_expected_later_are_not_overdue_any_more(
    process_runner: ProcessRunner,
) -> None:
    order = place(desk=1)
    process_runner.start(processes.worker(), processes.beat(), ORDERFLOW_LEAD_TIME="0s", **SOON)
    bought = linked_purchase_order(order)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    reschedule(
        bought.id, timezone.now() + timedelta(days=1), actor="Anna", reason="the boat is late"
    )
    assert_eventually(lambda: not OrderStatus.objects.get(order=order).overdue)
    assert_invariants()
