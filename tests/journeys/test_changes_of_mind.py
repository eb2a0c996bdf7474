"""Orders are cancelled and changed, suppliers cancel and fall short: through a real worker, with beat."""

import random
from datetime import timedelta
from functools import partial

from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.management import processes
from orderflow.messaging.models import StoredMessage
from orderflow.messaging.queries import is_quiet
from orderflow.refusals import Refused
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderChange
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    expect_goods,
    receive_goods,
)
from sales.models import OrderStatus, OrderStatusChange
from sales.services import NewOrder, cancel_orders, change_order, deliver_orders, place_orders, try_again
from stock.models import Balance, Reservation
from stock.services import Reversal, reverse_receipt
from tests.conftest import lines, product
from tests.journeys.conftest import Workshop, assert_eventually
from tests.journeys.shop import (
    assert_all_is_well,
    bought_for,
    eventually,
    held,
    level,
    place,
    put_on_the_shelf,
    requests,
    state,
)

SOON = {"ORDERFLOW_FIRST_COUNTDOWN": "0.1", "ORDERFLOW_CLOCK": "1"}


def receive(purchase_order: PurchaseOrder, **quantities: int) -> None:
    """A part of it arrives, or all that is still to come."""
    receive_goods([Arrival(purchase_order_id=purchase_order.id, lines=lines(**quantities) or None)])


def status_of(purchase_order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=purchase_order.id).status


def ordered_in_all(sku: str) -> list[int]:
    rows = PurchaseOrder.objects.order_by("ordered_at").filter(lines__product__sku=sku)
    return list(rows.values_list("lines__quantity", flat=True))


# -- cancelled ----------------------------------------------------------------------------------------------------------------


def test_what_a_cancelled_order_held_goes_to_who_waits_and_its_purchase_order_is_cancelled(worker: Workshop) -> None:
    put_on_the_shelf("chair", 5)
    holding = place("manual", chair=5)
    eventually(holding, "deliverable")
    waiting = place(chair=4)
    unwanted = place(desk=2)
    bought = bought_for(unwanted)

    cancel_orders([holding.id, unwanted.id], by="Grace", reason="changed their minds")

    eventually(waiting, "delivered")
    assert_eventually(lambda: status_of(bought) == "cancelled")
    assert_all_is_well()
    assert level("chair") == (1, 0)
    change = OrderStatusChange.objects.filter(status=holding.id).latest("id")
    assert (change.to_state, change.by, change.reason) == ("cancelled", "Grace", "changed their minds")


def test_a_partly_received_purchase_order_of_a_cancelled_order_is_kept_and_says_so_and_serves_who_waits(
    worker: Workshop,
) -> None:
    cancelled = place(desk=4)
    bought = bought_for(cancelled)
    receive(bought, desk=1)
    assert_eventually(lambda: held(cancelled) == 1)
    waiting = place(desk=3)
    bought_for(waiting)

    cancel_orders([cancelled.id], by="Grace")

    assert_eventually(lambda: held(waiting) == 1)
    assert_eventually(PurchaseOrderChange.objects.filter(order=bought).exists)
    assert "kept: a part has arrived" in PurchaseOrderChange.objects.get(order=bought).what
    assert status_of(bought) == "partially_received"
    receive(bought)
    eventually(waiting, "delivered")
    assert_all_is_well()
    assert level("desk") == (1, 0)


def test_an_order_that_is_cancelled_at_any_moment_leaves_nothing_behind(worker: Workshop) -> None:
    """Placed, changed, received for, delivered and cancelled while the worker is at it."""
    draw = random.Random(7)
    put_on_the_shelf("chair", 50)
    orders = [NewOrder(lines=lines(chair=draw.randint(1, 4)), delivery=draw.choice(["automatic", "manual"])) for _ in range(60)]
    refused = 0
    for order in orders:
        place_orders([order])
        for act in draw.sample(
            [
                partial(cancel_orders, [order.id], by="Grace"),
                partial(change_order, order.id, lines(chair=draw.randint(1, 4), lamp=1), by="Grace"),
                partial(deliver_orders, [order.id], by="Grace"),
                receive_one,
            ],
            2,
        ):
            try:
                act()  # type: ignore[operator]
            except Refused:
                refused += 1
    assert_eventually(is_quiet)
    cancel_orders(OrderStatus.objects.exclude(state__in=["delivered", "cancelled"]).values_list("pk", flat=True), by="Grace")
    assert_all_is_well()
    assert set(OrderStatus.objects.values_list("state", flat=True)) == {"delivered", "cancelled"}
    assert set(Reservation.objects.values_list("status", flat=True)) == {"shipped", "released"}
    assert refused
    assert level("chair")[1] == 0


def receive_one() -> None:
    first = PurchaseOrder.objects.open().order_by("ordered_at").first()
    if first:
        receive(first)


# -- changed ------------------------------------------------------------------------------------------------------------------


def test_more_is_wanted_while_goods_are_on_order_and_only_the_difference_is_bought(worker: Workshop) -> None:
    order = place(desk=3)
    first = bought_for(order)
    change_order(order.id, lines(desk=5, lamp=1), by="Grace", reason="a bigger office")
    assert_eventually(lambda: ordered_in_all("desk") == [3, 2])
    assert_eventually(lambda: ordered_in_all("lamp") == [1])
    receive(first)
    assert_eventually(lambda: held(order) == 3)
    receive(bought_for(order, after=first))
    eventually(order, "delivered")
    assert_all_is_well()
    assert ordered_in_all("desk") == [3, 2]
    assert level("desk") == (0, 0)


def test_less_is_wanted_of_what_is_promised_and_the_rest_serves_who_waits(worker: Workshop) -> None:
    put_on_the_shelf("chair", 5)
    order = place("manual", chair=5)
    eventually(order, "deliverable")
    waiting = place(chair=2)
    bought_for(waiting)
    change_order(order.id, lines(chair=3), by="Grace")
    eventually(waiting, "delivered")
    eventually(order, "deliverable")
    assert_all_is_well()
    assert level("chair") == (3, 3)


# -- purchase orders ----------------------------------------------------------------------------------------------------------


def test_what_will_not_come_is_bought_again_once_and_exactly(worker: Workshop) -> None:
    order = place(desk=5)
    short = bought_for(order)
    receive(short, desk=2)
    close_short([short.id], by="Anna", reason="sold out")
    assert_eventually(lambda: ordered_in_all("desk") == [5, 3])
    cancel_purchase_orders([bought_for(order).id], by="Anna", reason="the supplier has none either")
    assert_eventually(lambda: ordered_in_all("desk") == [5, 3, 3])
    receive(bought_for(order))
    eventually(order, "delivered")
    assert_all_is_well()
    assert level("desk") == (0, 0)


def test_nothing_is_bought_again_until_stock_has_booked_what_did_come(workshop: Workshop) -> None:
    workshop.start(processes.worker(queues=["sales", "purchase", "feed", "messaging"]), processes.beat(), **SOON)
    with workshop.start(processes.worker(queues=["stock"])):
        order = place(desk=5)
        short = bought_for(order)

    receive(short, desk=2)  # and Stock's worker is stopped
    close_short([short.id], by="Anna")

    retries = StoredMessage.objects.filter(type="sales.RetryReservation")
    assert_eventually(lambda: retries.count() >= 3)
    assert state(order) == "awaiting_stock_reservation"
    assert (requests(), ordered_in_all("desk")) == ([1], [5])

    workshop.start(processes.worker(queues=["stock"]))
    receive(bought_for(order))
    eventually(order, "delivered")
    assert_all_is_well()
    assert ordered_in_all("desk") == [5, 3]


def test_what_is_bought_in_vain_needs_a_person_in_the_end(workshop: Workshop) -> None:
    workshop.start(processes.worker(), processes.beat(), ORDERFLOW_REPURCHASES="1", **SOON)
    order = place(desk=1)
    for _ in range(2):
        bought = bought_for(order)
        cancel_purchase_orders([bought.id], by="Anna")
        assert_eventually(lambda: OrderStatus.objects.get(order=order).purchase_order_id != bought.id)  # noqa: B023
    assert_eventually(lambda: OrderStatus.objects.get(order=order).needs_attention)
    assert_eventually(is_quiet)
    assert StoredMessage.objects.filter(type="sales.SalesOrderNeedsAttention").count() == 1
    try_again([order.id], by="Grace", reason="a new supplier")
    receive(bought_for(order))
    eventually(order, "delivered")
    assert_all_is_well()


def test_what_was_counted_wrongly_is_reversed_and_the_next_order_is_bought_for(worker: Workshop) -> None:
    [stock] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("desk"), quantity=5)])])
    [receipt] = receive_goods([Arrival(purchase_order_id=stock.id)])
    assert_eventually(Balance.objects.filter(on_hand=5).exists)
    reverse_receipt(Reversal(receipt_id=receipt.id, product_id=product("desk"), quantity=3, reason="a box was empty"), by="Anna")
    assert level("desk") == (2, 0)
    assert_eventually(lambda: status_of(stock) == "closed_short")
    order = place(desk=4)
    receive(bought_for(order))
    eventually(order, "delivered")
    assert_all_is_well()
    assert level("desk") == (2, 0)


def test_purchase_orders_that_nobody_needs_are_kept_or_cancelled_as_it_is_set(workshop: Workshop, settings: Settings) -> None:
    settings.ORDERFLOW_CANCEL_PURCHASES = "never"  # here, where a person cancels
    workshop.start(processes.worker(), processes.beat(), ORDERFLOW_CANCEL_PURCHASES="unneeded")  # and where messages are handled
    cancelled = place(desk=2)
    kept = bought_for(cancelled)
    cancel_orders([cancelled.id], by="Grace")
    waiting = place(desk=2)
    not_needed = bought_for(waiting)
    assert status_of(kept) == "open"
    receive(kept)  # serves who waits
    eventually(waiting, "delivered")
    assert_eventually(lambda: status_of(not_needed) == "cancelled")
    assert_all_is_well()


# -- the clock ----------------------------------------------------------------------------------------------------------------


def test_an_order_is_marked_overdue_once_however_late_somebody_looks(workshop: Workshop) -> None:
    order = place(desk=1)
    workshop.start(processes.worker(), processes.beat(), ORDERFLOW_LEAD_TIME="0s", ORDERFLOW_GOODS_LIMIT="1s", **SOON)
    bought = bought_for(order)
    assert_eventually(lambda: PurchaseOrder.objects.get(id=bought.id).overdue)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    assert_eventually(is_quiet)
    assert StoredMessage.objects.filter(type="purchase.PurchaseOrderOverdue").count() == 1
    assert StoredMessage.objects.filter(type="sales.SalesOrderOverdue").count() == 1
    receive(bought)
    eventually(order, "delivered")
    assert not OrderStatus.objects.get(order=order).overdue
    assert_all_is_well()


def test_an_order_that_a_person_should_have_delivered_long_ago_is_overdue(workshop: Workshop) -> None:
    workshop.start(processes.worker(), processes.beat(), ORDERFLOW_DELIVERY_LIMIT="1s", **SOON)
    put_on_the_shelf("chair", 1)
    order = place("manual", chair=1)
    eventually(order, "deliverable")
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    deliver_orders([order.id], by="Grace")
    assert_all_is_well()
    assert StoredMessage.objects.filter(type="sales.SalesOrderOverdue").count() == 1


def test_goods_that_are_expected_later_are_not_overdue_any_more(workshop: Workshop) -> None:
    order = place(desk=1)
    workshop.start(processes.worker(), processes.beat(), ORDERFLOW_LEAD_TIME="0s", **SOON)
    bought = bought_for(order)
    assert_eventually(lambda: OrderStatus.objects.get(order=order).overdue)
    expect_goods(bought.id, timezone.now() + timedelta(days=1), by="Anna", reason="the boat is late")
    assert_eventually(lambda: not OrderStatus.objects.get(order=order).overdue)
    assert_all_is_well()
