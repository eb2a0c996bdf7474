"""Why a sales order waits: the lines, the purchase orders, the place in line, or the dead letter."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from orderflow.console.waiting import WhyItWaits, why_it_waits
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Delivery, StoredMessage
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    cancel_purchase_orders,
    create_purchase_orders,
    expect_goods,
    mark_overdue,
    receive_goods,
)
from sales.models import OrderStatus
from sales.services import NewOrder, cancel_orders, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)

EXPECTED = datetime(2031, 5, 17, tzinfo=UTC)


def why(name: str) -> WhyItWaits:
    told = why_it_waits(name)
    assert told
    return told


def place(reference: str, *, priority: int = 0, delivery: str = "manual", **quantities: int) -> NewOrder:
    order = NewOrder(reference=reference, lines=lines(**quantities), priority=priority, delivery=delivery)
    place_orders([order])
    settle()
    return order


def bought_for(order: NewOrder) -> PurchaseOrder:
    return PurchaseOrder.objects.get(lines__bought_for=order.id)


def test_it_names_what_is_missing_of_which_line_and_on_which_purchase_order_it_is() -> None:
    adjust_stock([Adjustment(product_id=product("chair"), quantity=9, reason="opening")], by="Ada")
    bought = bought_for(place("S-1", chair=2, desk=3))
    expect_goods(bought.id, EXPECTED, by="Anna")
    receive_goods([Arrival(purchase_order_id=bought.id, lines=lines(desk=1))])
    settle()
    [desk] = why("S-1").missing
    [coming] = desk.on_order
    assert (desk.sku, desk.quantity, desk.held, desk.missing, desk.place_in_line) == ("desk", 3, 1, 2, 1)
    assert (coming.purchase_order, coming.quantity, coming.bought_for_it) == (bought.reference, 2, 2)
    assert (coming.expected_at, coming.overdue) == (EXPECTED, False)
    assert why("S-1").sentence == (
        "Sales order S-1 waits for 2 × desk (1 of 3 are held), next in line: "
        f"2 on purchase order {bought.reference}, bought for it, expected 2031-05-17."
    )


def test_the_place_in_line_counts_by_priority_and_then_by_time() -> None:
    place("first", desk=1)
    place("second", desk=1)
    place("urgent", desk=1, priority=5)
    place("of something else", chair=1)
    assert [why(name).missing[0].place_in_line for name in ("urgent", "first", "second", "of something else")] == [1, 2, 3, 1]
    assert "number 3 in line" in why("second").sentence


def test_of_two_placed_at_the_same_moment_the_place_in_line_is_by_id() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    orders = [NewOrder(id=UUID(int=number), reference=f"S-{number}", lines=lines(desk=1), placed_at=at) for number in (2, 1, 3)]
    place_orders(orders)
    settle()
    assert [why(name).missing[0].place_in_line for name in ("S-1", "S-2", "S-3")] == [1, 2, 3]


def test_goods_on_order_for_nobody_are_named_and_those_for_others_are_not() -> None:
    place("another", desk=1)
    mine = bought_for(place("S-1", desk=1))
    shelf = PeggedQuantity(product_id=product("desk"), quantity=7)
    [unpegged] = create_purchase_orders([NewPurchaseOrder(lines=[shelf], expected_at=EXPECTED)])
    [desk] = why("S-1").missing
    assert [(each.purchase_order, each.quantity, each.bought_for_it) for each in desk.on_order] == [
        (mine.reference, 1, 1),
        (unpegged.reference, 7, 0),
    ]


def test_it_says_that_the_date_has_passed() -> None:
    bought = bought_for(place("S-1", desk=1))
    expect_goods(bought.id, datetime(2020, 1, 1, tzinfo=UTC), by="Anna")
    mark_overdue()
    settle()
    assert why("S-1").missing[0].on_order[0].overdue
    assert "expected 2020-01-01, which has passed. It is overdue: awaiting goods received since " in why("S-1").sentence


def test_it_says_that_a_person_has_to_decide(settings: Settings) -> None:
    settings.ORDERFLOW_REPURCHASES = 0
    bought = bought_for(place("S-1", desk=1))
    cancel_purchase_orders([bought.id], by="Anna")
    settle()
    Delivery.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    settle()
    assert why("S-1").needs_attention
    assert why("S-1").reasons == (
        "a person to try again, change or cancel it: what is missing was bought in vain, 1 ×",
        "1 × desk, next in line: none of it is on order",
    )


def test_it_names_the_dead_letter_that_holds_it() -> None:
    place_orders([NewOrder(reference="S-1", lines=lines(desk=1))])
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    settle()
    [letter] = why("S-1").letters
    assert (letter.type, letter.consumer, letter.state) == ("stock.MakeReservation", "stock", "dead")
    assert f"dead letter {letter.id}" in why("S-1").sentence


def test_goods_that_have_arrived_and_are_not_booked_are_not_called_missing_from_every_order() -> None:
    bought = bought_for(place("S-1", desk=1))
    receive_goods([Arrival(purchase_order_id=bought.id)])
    assert "it has arrived, and Stock is about to book it" in why("S-1").sentence


def test_what_is_just_being_ordered_is_not_called_missing_from_every_order() -> None:
    place_orders([NewOrder(reference="S-1", lines=lines(desk=1))])
    drain("stock")
    assert why("S-1").reasons == ("Sales to hear Stock's answer",)
    drain("sales")
    assert why("S-1").reasons == ("1 × desk, next in line: it is just being ordered",)


def test_what_a_supplier_cancelled_is_asked_for_again() -> None:
    bought = bought_for(place("S-1", desk=1))
    cancel_purchase_orders([bought.id], by="Anna")
    assert "its purchase order was cancelled, and Stock is about to be asked again" in why("S-1").sentence
    settle()
    [reason] = why("S-1").reasons
    assert reason.startswith("Stock to be asked again, at ")


def test_it_says_when_all_is_promised_and_sales_has_not_heard_it() -> None:
    bought = bought_for(place("S-1", desk=1))
    receive_goods([Arrival(purchase_order_id=bought.id)])
    drain("stock")
    assert why("S-1").reasons == ("Sales to hear that Stock has promised all of it",)


def test_a_letter_about_its_purchase_order_that_failed_is_named(settings: Settings) -> None:
    bought = bought_for(place("S-1", desk=1))
    receive_goods([Arrival(purchase_order_id=bought.id)])
    Delivery.objects.filter(consumer="stock").update(attempts=2, due_at=EXPECTED, last_error="the shelf fell")
    assert "purchase.GoodsReceived on its way to stock, which failed 2 times, to be tried again at" in why("S-1").sentence
    assert [letter.type for letter in why("S-1").letters] == ["purchase.GoodsReceived"]


def test_a_long_list_of_purchase_orders_is_cut_short() -> None:
    place("S-1", desk=1)
    shelf = PeggedQuantity(product_id=product("desk"), quantity=1)
    create_purchase_orders([NewPurchaseOrder(lines=[shelf]) for _ in range(20)])
    assert len(why("S-1").missing[0].on_order) == 21
    assert "and 16 purchase orders more." in why("S-1").sentence


def test_dates_are_told_in_the_shops_own_time(settings: Settings) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    bought = bought_for(place("S-1", desk=1))
    expect_goods(bought.id, datetime(2031, 5, 16, 20, tzinfo=UTC), by="Anna")
    assert "expected 2031-05-17" in why("S-1").sentence


def test_a_letter_that_was_discarded_keeps_nobody_waiting_who_has_ended() -> None:
    order = place("S-1", desk=1)
    message = StoredMessage.objects.filter(key=order.id).earliest("id")
    Delivery.objects.create(consumer="sales", message=message, key=order.id, due_at=EXPECTED, state="discarded")
    assert why("S-1").reasons[0].startswith("nothing that will come")
    cancel_orders([order.id], by="Grace")
    settle()
    assert (why("S-1").reasons, len(why("S-1").letters)) == ((), 1)


def test_who_has_ended_waits_for_nothing() -> None:
    order = place("S-1", desk=1)
    cancel_orders([order.id], by="Grace")
    settle()
    assert why("S-1").sentence == "Sales order S-1 waits for nothing: it is cancelled."
    assert (why("S-1").reasons, why("S-1").missing) == ((), ())


def test_there_is_nothing_to_say_of_an_order_that_does_not_exist() -> None:
    assert why_it_waits("nobody") is None


def test_it_asks_as_much_of_the_database_however_many_wait(django_assert_max_num_queries: object) -> None:
    for number in range(6):
        place(f"S-{number}", desk=1, chair=1, lamp=1)
    assert OrderStatus.objects.filter(state="awaiting_goods_received").count() == 6
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        why("S-5")
