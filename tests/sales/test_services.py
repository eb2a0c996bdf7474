from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import NoLines, ProductQuantity, QuantityOutOfRange
from orderflow.messaging.consuming import drain
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.reasons import ReasonTooLong
from purchase import services as purchase
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services import Arrival, NewPurchaseOrder, create_purchase_orders, receive_goods
from sales.models import OrderPurchase, OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import (
    NothingToTryAgain,
    OrderCannotBeCancelled,
    OrderCannotBeChanged,
    OrderCannotBeDelivered,
)
from sales.services import (
    NewOrder,
    NoSuchOrder,
    OrderTaken,
    OrderWasChanged,
    cancel_orders,
    change_order,
    deliver_orders,
    mark_overdue,
    place_orders,
    try_again,
)
from sales.tasks import look_at_the_clock
from stock.contract import ReservationAccepted
from stock.models import ReservationLine
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)


def put_on_the_shelf(sku: str, quantity: int) -> None:
    adjust_stock([Adjustment(product_id=product(sku), quantity=quantity, reason="opening")], by="Ada")


def state(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).state


def test_an_order_that_can_be_served_is_delivered_at_once() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2))])
    assert state(order) == "awaiting_stock_reservation"
    settle()
    assert state(order) == "delivered"


def test_an_order_with_manual_delivery_waits_for_a_person() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2), delivery="manual")])
    settle()
    assert state(order) == "deliverable"
    deliver_orders([order.id], by="Grace")
    assert state(order) == "delivered"
    assert list(order.status.changes.values_list("by", flat=True))[-1] == "Grace"


def test_delivering_twice_is_the_same_as_once() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2), delivery="manual")])
    settle()
    deliver_orders([order.id], by="Grace")
    deliver_orders([order.id], by="Grace")
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1


def test_it_rejects_delivering_what_is_not_there_yet_and_changes_nothing() -> None:
    put_on_the_shelf("chair", 2)
    served, waiting = place_orders(
        [NewOrder(lines=lines(chair=2), delivery="manual"), NewOrder(reference="S-2", lines=lines(desk=1), delivery="manual")]
    )
    settle()
    with pytest.raises(OrderCannotBeDelivered, match="S-2 cannot be delivered yet: it waits for goods that are on order"):
        deliver_orders([served.id, waiting.id], by="Grace")
    assert state(served) == "deliverable"


def test_it_rejects_delivering_an_order_that_does_not_exist() -> None:
    with pytest.raises(NoSuchOrder):
        deliver_orders([uuid4()], by="Grace")


def test_what_is_missing_is_bought_and_remembered() -> None:
    put_on_the_shelf("chair", 2)
    [order] = place_orders([NewOrder(lines=lines(chair=3, desk=1))])
    settle()
    status = OrderStatus.objects.get(order=order)
    purchase_order = PurchaseOrder.objects.get()
    assert (status.state, status.purchase_order_id) == ("awaiting_goods_received", purchase_order.id)
    assert sorted(purchase_order.lines.values_list("product__sku", "quantity", "bought_for")) == [
        ("chair", 3, order.id),
        ("desk", 1, order.id),
    ]


def test_with_the_setting_shortage_only_what_the_shelf_lacks_is_bought(settings: pytest.FixtureRequest) -> None:
    settings.ORDERFLOW_BUY = "shortage"  # type: ignore[attr-defined]
    put_on_the_shelf("chair", 2)
    place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    assert list(PurchaseOrder.objects.get().lines.values_list("quantity", flat=True)) == [1]


def test_goods_that_arrive_are_remembered_with_the_message_that_closed_the_purchase_order() -> None:
    [order] = place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.get().id)])
    settle()
    received = StoredMessage.objects.get(type="purchase.GoodsReceived")
    assert OrderPurchase.objects.get().closed_by == received.pk
    assert OrderStatus.objects.get(order=order).purchase_order_id is None


def test_a_purchase_order_that_no_sales_order_waits_for_is_none_of_sales_business() -> None:
    place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    before = list(OrderStatus.objects.values())
    [bought] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("lamp"), quantity=1)])])
    receive_goods([Arrival(purchase_order_id=bought.id)])
    settle()
    assert list(OrderStatus.objects.values()) == before


def test_a_product_that_is_named_twice_is_added_up() -> None:
    [order] = place_orders([NewOrder(lines=[*lines(chair=1, desk=1), *lines(chair=2)])])
    assert sorted(order.lines.values_list("product__sku", "quantity")) == [("chair", 3), ("desk", 1)]


@pytest.mark.parametrize("quantity", [0, -1, 1_000_000_001])
def test_it_rejects_a_quantity_out_of_range(quantity: int) -> None:
    with pytest.raises(QuantityOutOfRange, match=r"from 1 to 1,000,000,000"):
        place_orders([NewOrder(lines=[ProductQuantity(product_id=product("chair"), quantity=quantity)])])


def test_it_rejects_an_order_without_lines_and_places_none_of_the_others() -> None:
    with pytest.raises(NoLines):
        place_orders([NewOrder(lines=lines(chair=1)), NewOrder(lines=[])])
    assert not SalesOrder.objects.exists()


def test_the_same_order_placed_again_under_its_id_is_one_order() -> None:
    order = NewOrder(lines=lines(chair=1))
    [first] = place_orders([order])
    [again] = place_orders([order])
    assert first == again
    assert StoredMessage.objects.filter(type="sales.SalesOrderCreated").count() == 1


def test_it_rejects_two_different_orders_under_one_id_or_reference_in_one_call() -> None:
    order = NewOrder(lines=lines(chair=1))
    with pytest.raises(OrderTaken, match="id"):
        place_orders([order, NewOrder(id=order.id, lines=lines(chair=2))])
    with pytest.raises(OrderTaken, match="reference S-1"):
        place_orders([NewOrder(reference="S-1", lines=lines(chair=1)) for _ in range(2)])
    assert not SalesOrder.objects.exists()


def test_it_rejects_another_order_under_an_id_that_is_taken() -> None:
    order = NewOrder(lines=lines(chair=1))
    place_orders([order])
    for other in (NewOrder(id=order.id, lines=lines(chair=2)), NewOrder(id=order.id, lines=lines(chair=1), customer="Grace")):
        with pytest.raises(OrderTaken, match=str(order.id)):
            place_orders([other])


def test_it_rejects_a_reference_that_is_taken_and_places_nothing() -> None:
    place_orders([NewOrder(reference="S-1", lines=lines(chair=1))])
    with pytest.raises(OrderTaken, match="reference S-1"):
        place_orders([NewOrder(reference="S-2", lines=lines(chair=1)), NewOrder(reference="S-1", lines=lines(chair=1))])
    assert SalesOrder.objects.count() == 1
    assert SalesOrderLine.objects.count() == 1


def test_a_thousand_orders_are_placed_with_a_constant_number_of_queries(django_assert_max_num_queries: object) -> None:
    wanted = lines(chair=1, desk=2)
    with django_assert_max_num_queries(40):  # type: ignore[operator]
        place_orders([NewOrder(lines=wanted) for _ in range(100)])


# -- what people and suppliers do, in these stories -----------------------------------------------------------------------

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def placed(*, delivery: str = "automatic", priority: int = 0, days_later: int = 0, **wanted: int) -> SalesOrder:
    """An order that everybody has heard of."""
    order = NewOrder(lines=lines(**wanted), delivery=delivery, priority=priority, placed_at=LONG_AGO + timedelta(days=days_later))
    [row] = place_orders([order])
    settle()
    return row


def ring_the_timers() -> None:
    """Every timer goes off, and everybody takes what there is to take."""
    Delivery.objects.update(due_at=timezone.now())
    settle()


def bought_for(order: SalesOrder) -> list[PurchaseOrder]:
    """Its purchase orders, the oldest first."""
    ids = OrderPurchase.objects.filter(status=order.pk).order_by("request").values_list("purchase_order_id", flat=True)
    return [PurchaseOrder.objects.get(id=each) for each in ids]


def quantities(purchase_order: PurchaseOrder) -> dict[str, int]:
    return dict(purchase_order.lines.values_list("product__sku", "quantity"))


def arrive(purchase_order: PurchaseOrder, **arrived: int) -> None:
    receive_goods([Arrival(purchase_order_id=purchase_order.id, lines=lines(**arrived) if arrived else None)])
    settle()


def cancel(order: SalesOrder) -> None:
    cancel_orders([order.id], by="Ada", reason="changed her mind")
    settle()


def change(order: SalesOrder, **wanted: int) -> None:
    change_order(order.id, lines(**wanted), by="Ada", reason="changed her mind")
    settle()


def held(order: SalesOrder) -> dict[str, int]:
    return dict(ReservationLine.objects.filter(reservation=order.id).values_list("product__sku", "held"))


def said(name: str) -> int:
    """How often a message of this type was published."""
    return StoredMessage.objects.filter(type=name).count()


# -- cancelling -----------------------------------------------------------------------------------------------------------


def test_an_order_is_cancelled_before_stock_has_answered() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2))])
    cancel(order)
    ring_the_timers()
    assert (state(order), held(order)) == ("cancelled", {"chair": 0})
    assert said("sales.SalesOrderDelivered") == 0
    assert not Delivery.objects.exists()


def test_what_a_deliverable_order_held_goes_to_who_waits_in_the_order_of_priority_and_time() -> None:
    put_on_the_shelf("chair", 5)
    leaving = placed(delivery="manual", chair=5)
    newer, older = placed(days_later=2, chair=2), placed(days_later=1, chair=2)
    urgent = placed(days_later=3, priority=1, chair=2)
    cancel(leaving)
    assert [state(each) for each in (leaving, urgent, older)] == ["cancelled", "delivered", "delivered"]
    assert (state(newer), held(newer)) == ("awaiting_goods_received", {"chair": 1})


def test_what_was_on_order_for_a_cancelled_order_is_cancelled_too() -> None:
    order = placed(chair=2)
    [purchase_order] = bought_for(order)
    cancel(order)
    purchase_order.refresh_from_db()
    assert (state(order), purchase_order.status) == ("cancelled", "cancelled")
    assert OrderPurchase.objects.get().closed_by == StoredMessage.objects.get(type="purchase.PurchaseOrderCancelled").pk
    ring_the_timers()
    assert PurchaseOrder.objects.count() == 1


def test_a_purchase_order_of_which_a_part_has_arrived_is_kept_and_serves_who_waits() -> None:
    leaving = placed(chair=3)
    [purchase_order] = bought_for(leaving)
    waiting = placed(days_later=1, chair=2)
    arrive(purchase_order, chair=1)
    cancel(leaving)
    purchase_order.refresh_from_db()
    assert purchase_order.status == "partially_received"
    assert "kept: a part has arrived" in purchase_order.changes.get().what
    assert held(waiting) == {"chair": 1}
    arrive(purchase_order)
    assert (state(leaving), state(waiting)) == ("cancelled", "delivered")


def test_set_so_purchase_orders_are_kept_and_serve_who_waits(settings: Any) -> None:
    settings.ORDERFLOW_CANCEL_PURCHASES = "never"
    leaving = placed(chair=3)
    [purchase_order] = bought_for(leaving)
    waiting = placed(days_later=1, chair=2)
    cancel(leaving)
    purchase_order.refresh_from_db()
    assert (purchase_order.status, said("purchase.CancelPurchaseOrder")) == ("open", 0)
    arrive(purchase_order)
    assert (state(leaving), state(waiting)) == ("cancelled", "delivered")
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(("choice", "kept"), [("never", True), ("cancelled", True), ("unneeded", False)])
def test_what_is_on_order_for_an_order_that_other_goods_served_is_cancelled_where_it_is_set_so(
    settings: Any, choice: str, kept: bool
) -> None:
    settings.ORDERFLOW_CANCEL_PURCHASES = choice
    order = placed(chair=3)
    put_on_the_shelf("chair", 3)
    settle()
    assert state(order) == "delivered"
    assert bought_for(order)[0].status == ("open" if kept else "cancelled")


@pytest.mark.parametrize("on_the_shelf", [0, 5])
def test_cancelling_twice_publishes_nothing_more(on_the_shelf: int) -> None:
    if on_the_shelf:
        put_on_the_shelf("chair", on_the_shelf)
    order = placed(delivery="manual", chair=2)
    cancel(order)
    before = StoredMessage.objects.count()
    cancel(order)
    cancel_orders([order.id, order.id], by="Grace")
    assert StoredMessage.objects.count() == before
    assert order.status.changes.filter(to_state="cancelled").count() == 1


def test_the_history_says_who_cancelled_an_order_and_why() -> None:
    order = placed(chair=2)
    cancel(order)
    last = order.status.changes.last()
    assert last
    assert (last.from_state, last.to_state, last.by, last.reason) == (
        "awaiting_goods_received",
        "cancelled",
        "Ada",
        "changed her mind",
    )


def test_it_rejects_cancelling_what_was_delivered_and_cancels_none_of_the_others() -> None:
    put_on_the_shelf("chair", 1)
    delivered, waiting = placed(chair=1), placed(chair=2)
    before = StoredMessage.objects.count()
    with pytest.raises(OrderCannotBeCancelled, match=f"{delivered.reference} cannot be cancelled any more: it was delivered"):
        cancel_orders([waiting.id, delivered.id], by="Ada")
    assert (state(waiting), StoredMessage.objects.count()) == ("awaiting_goods_received", before)


def test_it_rejects_cancelling_an_order_that_does_not_exist_and_cancels_none_of_the_others() -> None:
    order = placed(chair=2)
    with pytest.raises(NoSuchOrder):
        cancel_orders([order.id, uuid4()], by="Ada")
    assert state(order) == "awaiting_goods_received"


def test_a_hundred_orders_are_cancelled_with_a_constant_number_of_queries(django_assert_max_num_queries: Any) -> None:
    orders = place_orders([NewOrder(lines=lines(chair=1, desk=2)) for _ in range(100)])
    settle()
    with django_assert_max_num_queries(20):
        cancel_orders([order.id for order in orders], by="Ada")
    with django_assert_max_num_queries(120):
        settle()
    assert set(OrderStatus.objects.values_list("state", flat=True)) == {"cancelled"}


# -- changing -------------------------------------------------------------------------------------------------------------


def test_who_wants_less_keeps_that_and_the_rest_serves_who_waits() -> None:
    put_on_the_shelf("chair", 5)
    order, waiting = placed(delivery="manual", chair=5), placed(days_later=1, chair=3)
    change(order, chair=2)
    assert (state(order), held(order), state(waiting)) == ("deliverable", {"chair": 2}, "delivered")
    deliver_orders([order.id], by="Ada")
    settle()
    assert not Delivery.objects.filter(state="dead").exists()


def test_who_wants_more_gets_it_from_the_shelf() -> None:
    put_on_the_shelf("chair", 5)
    order = placed(delivery="manual", chair=2)
    change(order, chair=4)
    assert (state(order), held(order)) == ("deliverable", {"chair": 4})
    assert not PurchaseOrder.objects.exists()


def test_who_wants_more_than_is_on_order_has_only_the_difference_bought() -> None:
    order = placed(chair=2)
    change(order, chair=5)
    assert [quantities(each) for each in bought_for(order)] == [{"chair": 2}, {"chair": 3}]
    for each in bought_for(order):
        arrive(each)
    ring_the_timers()
    assert (state(order), PurchaseOrder.objects.count()) == ("delivered", 2)


def test_who_wants_another_product_has_that_bought_and_the_goods_of_the_first_serve_who_waits() -> None:
    order, waiting = placed(chair=2), placed(days_later=1, chair=1)
    change(order, lamp=1)
    of_chairs, of_lamps = bought_for(order)
    assert (quantities(of_lamps), held(order)) == ({"lamp": 1}, {"lamp": 0})
    arrive(of_chairs)
    assert (state(order), state(waiting)) == ("awaiting_stock_reservation", "delivered")
    ring_the_timers()
    assert (state(order), PurchaseOrder.objects.count()) == ("awaiting_goods_received", 3)
    arrive(of_lamps)
    assert state(order) == "delivered"


def test_of_several_purchase_orders_it_waits_for_the_latest() -> None:
    order = placed(chair=2)
    change(order, chair=3)
    _, latest = OrderPurchase.objects.order_by("request")
    assert OrderStatus.objects.get().purchase_order_id == latest.pk


def test_the_same_lines_are_no_change() -> None:
    order = placed(chair=2, desk=1)
    before = StoredMessage.objects.count()
    change_order(order.id, [*lines(desk=1, chair=1), *lines(chair=1)], by="Ada")
    assert (OrderStatus.objects.get().revision, StoredMessage.objects.count()) == (1, before)


def test_an_order_that_needs_attention_and_is_changed_is_bought_for_anew() -> None:
    order = in_need_of_attention(chair=2)
    change(order, chair=3)
    assert (state(order), OrderStatus.objects.get().needs_attention) == ("awaiting_goods_received", False)
    assert OrderStatus.objects.get().times_bought == 1


def test_a_change_is_announced_and_the_history_says_who_made_it_and_why() -> None:
    order = placed(chair=2)
    change(order, lamp=1)
    event = StoredMessage.objects.get(type="sales.SalesOrderChanged").payload
    assert (event["revision"], event["lines"]) == (2, [{"product_id": str(product("lamp")), "quantity": 1}])
    row = order.status.changes.get(by="Ada")
    assert (row.to_state, row.reason) == ("awaiting_stock_reservation", "changed her mind")


def test_it_rejects_a_change_to_an_order_that_was_changed_meanwhile() -> None:
    order = placed(chair=2)
    change_order(order.id, lines(chair=3), by="Ada", revision=1)
    with pytest.raises(OrderWasChanged, match="it is at revision 2"):
        change_order(order.id, lines(chair=4), by="Grace", revision=1)
    assert list(order.lines.values_list("quantity", flat=True)) == [3]
    change_order(order.id, lines(chair=4), by="Grace", revision=2)
    assert OrderStatus.objects.get().revision == 3


def test_nothing_is_bought_twice_when_an_order_makes_room_for_a_reversal_and_wants_it_all_again() -> None:
    # Seen to fail: where a purchase order that was complete is open again after the reversal.
    order = placed(delivery="manual", chair=4)
    arrival = Arrival(purchase_order_id=PurchaseOrder.objects.get().id)
    receive_goods([arrival])
    settle()
    change(order, chair=3)
    miscounted = Reversal(receipt_id=arrival.id, product_id=product("chair"), quantity=1, reason="miscounted")
    reverse_receipt(miscounted, by="Ada")
    change(order, chair=4)
    still_open = PurchaseOrderLine.objects.filter(order__status__in=["open", "partially_received"])
    assert list(still_open.values_list("quantity", "received")) == [(1, 0)]


def test_it_rejects_a_reason_that_no_history_can_keep() -> None:
    order = placed(chair=2)
    with pytest.raises(ReasonTooLong, match="at most 200 characters, not 201"):
        cancel_orders([order.id], by="Ada", reason="x" * 201)
    assert state(order) != "cancelled"


def test_an_order_that_is_named_twice_is_tried_again_once() -> None:
    order = in_need_of_attention(chair=2)
    try_again([order.id, order.id], by="Ada")
    assert StoredMessage.objects.filter(type="sales.RetryReservation").latest("id").payload["countdown"] == 0


def test_it_rejects_the_lines_that_an_order_has_once_it_has_ended() -> None:
    order = placed(chair=2)
    cancel(order)
    with pytest.raises(OrderCannotBeChanged):
        change_order(order.id, lines(chair=2), by="Ada")


def test_another_order_under_the_id_of_a_changed_one_is_another_order() -> None:
    order = NewOrder(lines=lines(chair=2))
    [row] = place_orders([order])
    settle()
    change(row, lamp=1)
    assert place_orders([order]) == [row]
    with pytest.raises(OrderTaken):
        place_orders([NewOrder(id=order.id, lines=lines(lamp=1), placed_at=order.placed_at)])


def test_an_order_whose_question_was_discarded_is_tried_again() -> None:
    [order] = place_orders([NewOrder(lines=lines(chair=2))])
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    settle()
    [letter] = Delivery.objects.filter(state="dead")
    discard([letter.pk], by="Ada", reason="broken")
    try_again([order.id], by="Ada")
    settle()
    assert state(order) == "awaiting_goods_received"
    # And if the letter is mended and replayed after all, nothing comes of it.
    stored = StoredMessage.objects.filter(type="stock.MakeReservation").order_by("id")
    StoredMessage.objects.filter(pk=stored[0].pk).update(payload=stored[1].payload | {"request": 1})
    replay([letter.pk], by="Ada", reason="mended")
    settle()
    assert state(order) == "awaiting_goods_received"
    assert PurchaseOrder.objects.count() == 1


def test_an_answer_that_was_discarded_and_comes_after_the_delivery_is_ignored() -> None:
    order = placed(delivery="manual", chair=2)
    arrive(PurchaseOrder.objects.get())
    rejected = StoredMessage.objects.get(type="stock.ReservationRejected")
    Delivery.objects.create(consumer="sales", message=rejected, key=rejected.key, due_at=timezone.now(), state="discarded")
    replay(Delivery.objects.filter(message=rejected).values_list("pk", flat=True), by="Ada", reason="a mistake")
    settle()
    assert (state(order), Delivery.objects.filter(state="dead").exists()) == ("deliverable", False)


@pytest.mark.parametrize("ended", ["delivered", "cancelled"])
def test_it_rejects_changing_what_has_ended(ended: str) -> None:
    put_on_the_shelf("chair", 2)
    order = placed(delivery="automatic" if ended == "delivered" else "manual", chair=2)
    if ended == "cancelled":
        cancel(order)
    before = StoredMessage.objects.count()
    with pytest.raises(OrderCannotBeChanged, match=f"it was {ended}"):
        change_order(order.id, lines(chair=1), by="Ada")
    assert (list(order.lines.values_list("quantity", flat=True)), StoredMessage.objects.count()) == ([2], before)


def test_it_rejects_changing_an_order_that_does_not_exist_or_to_nothing() -> None:
    with pytest.raises(NoSuchOrder):
        change_order(uuid4(), lines(chair=1), by="Ada")
    with pytest.raises(NoLines):
        change_order(placed(chair=2).id, [], by="Ada")


def test_what_stock_accepted_of_the_wish_before_delivers_nothing() -> None:
    put_on_the_shelf("chair", 2)
    [order] = place_orders([NewOrder(lines=lines(chair=2))])
    drain("stock")
    change_order(order.id, lines(chair=3), by="Ada")
    drain("sales", batch=1)
    assert said("stock.ReservationAccepted") == 1
    assert (state(order), said("stock.ShipReservation")) == ("awaiting_stock_reservation", 0)
    settle()
    assert (state(order), held(order)) == ("awaiting_goods_received", {"chair": 2})
    assert quantities(bought_for(order)[0]) == {"chair": 1}


def test_the_original_order_placed_again_after_a_change_is_still_that_order() -> None:
    original = NewOrder(lines=lines(chair=2))
    [order] = place_orders([original])
    change(order, chair=3)
    assert place_orders([original]) == [order]
    assert list(order.lines.values_list("quantity", flat=True)) == [3]
    with pytest.raises(OrderTaken):
        place_orders([NewOrder(id=order.id, lines=lines(chair=2), customer="Grace")])


# -- buying once more -----------------------------------------------------------------------------------------------------


def in_need_of_attention(*, chair: int) -> SalesOrder:
    """An order whose purchase orders the supplier cancelled again and again."""
    order = placed(chair=chair)
    for times in range(1, 5):
        assert (state(order), len(bought_for(order))) == ("awaiting_goods_received", times)
        purchase.cancel_purchase_orders([bought_for(order)[-1].id], by="Ada")
        settle()
        ring_the_timers()
    assert (state(order), OrderStatus.objects.get(order=order).needs_attention) == ("awaiting_stock_reservation", True)
    return order


def test_of_what_is_closed_short_exactly_the_rest_is_bought_again_once() -> None:
    order = placed(chair=5, desk=1)
    [first] = bought_for(order)
    arrive(first, chair=2, desk=1)
    purchase.close_short([first.id], by="Ada")
    settle()
    ring_the_timers()
    ring_the_timers()
    assert [quantities(each) for each in bought_for(order)] == [{"chair": 5, "desk": 1}, {"chair": 3}]
    arrive(bought_for(order)[1])
    assert state(order) == "delivered"


def test_nothing_is_bought_again_before_stock_has_handled_what_came() -> None:
    order = placed(chair=5)
    [first] = bought_for(order)
    receive_goods([Arrival(purchase_order_id=first.id, lines=lines(chair=2))])
    purchase.close_short([first.id], by="Ada")
    for _ in range(3):
        drain("sales")
        Delivery.objects.filter(consumer="sales").update(due_at=timezone.now())
    assert (state(order), said("stock.MakeReservation")) == ("awaiting_stock_reservation", 1)
    assert said("sales.RetryReservation") > 1
    settle()
    ring_the_timers()
    assert [quantities(each) for each in bought_for(order)] == [{"chair": 5}, {"chair": 3}]


def test_what_the_supplier_cancels_is_bought_again() -> None:
    order = placed(chair=5)
    purchase.cancel_purchase_orders([bought_for(order)[0].id], by="Ada")
    settle()
    assert len(bought_for(order)) == 1  # not before the countdown
    ring_the_timers()
    assert [quantities(each) for each in bought_for(order)] == [{"chair": 5}, {"chair": 5}]


def test_what_was_bought_in_vain_too_often_needs_attention_and_says_so_once() -> None:
    order = in_need_of_attention(chair=5)
    ring_the_timers()
    assert (len(bought_for(order)), said("sales.SalesOrderNeedsAttention")) == (4, 1)
    event = StoredMessage.objects.get(type="sales.SalesOrderNeedsAttention").payload
    assert event["missing"] == [{"product_id": str(product("chair")), "quantity": 5}]


def test_tried_again_it_is_bought_once_more() -> None:
    order = in_need_of_attention(chair=5)
    try_again([order.id], by="Ada", reason="another supplier")
    settle()
    status = OrderStatus.objects.get(order=order)
    assert (status.state, status.needs_attention, status.times_bought) == ("awaiting_goods_received", False, 1)
    assert len(bought_for(order)) == 5
    assert order.status.changes.filter(by="Ada", reason="another supplier").count() == 1
    arrive(bought_for(order)[-1])
    assert state(order) == "delivered"


def test_goods_that_are_found_serve_an_order_that_needs_attention() -> None:
    order = in_need_of_attention(chair=5)
    put_on_the_shelf("chair", 5)
    settle()
    assert (state(order), OrderStatus.objects.get().needs_attention) == ("delivered", False)


def test_it_rejects_trying_again_what_needs_no_attention_and_tries_none_of_the_others() -> None:
    needy, fine = in_need_of_attention(chair=5), placed(chair=1)
    with pytest.raises(NothingToTryAgain, match=fine.reference):
        try_again([needy.id, fine.id], by="Ada")
    assert OrderStatus.objects.get(order=needy).needs_attention


# -- what is late ---------------------------------------------------------------------------------------------------------


def stay(order: SalesOrder, **length: float) -> None:
    """It has been in its state for so long."""
    OrderStatus.objects.filter(order=order).update(since=timezone.now() - timedelta(**length))


def overdue(order: SalesOrder) -> bool:
    return OrderStatus.objects.get(order=order).overdue


def test_an_order_is_overdue_once_in_each_stay_in_a_state(settings: Any) -> None:
    settings.ORDERFLOW_LIMITS = {"awaiting_goods_received": timedelta(days=30), "deliverable": timedelta(days=7)}
    order, punctual = placed(delivery="manual", chair=2), placed(chair=1)
    stay(order, days=31)
    stay(punctual, days=29)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    assert (overdue(order), overdue(punctual)) == (True, False)
    arrive(bought_for(order)[0])
    assert (state(order), overdue(order)) == ("deliverable", False)
    stay(order, days=8)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    states = [row.payload["state"] for row in StoredMessage.objects.filter(type="sales.SalesOrderOverdue").order_by("id")]
    assert states == ["awaiting_goods_received", "deliverable"]
    deliver_orders([order.id], by="Ada")
    assert not overdue(order)


def test_without_a_limit_no_order_is_ever_overdue(settings: Any) -> None:
    settings.ORDERFLOW_LIMITS = dict.fromkeys(
        ("awaiting_stock_reservation", "awaiting_goods_received", "deliverable"), timedelta(0)
    )
    stay(placed(chair=2), days=9999)
    assert mark_overdue() == 0
    settings.ORDERFLOW_LIMITS = {"awaiting_goods_received": timedelta(0), "deliverable": timedelta(days=1)}
    assert mark_overdue() == 0


@pytest.mark.parametrize("ended", ["delivered", "cancelled"])
def test_what_has_ended_is_never_overdue(ended: str) -> None:
    put_on_the_shelf("chair", 2)
    order = placed(delivery="automatic" if ended == "delivered" else "manual", chair=2)
    if ended == "cancelled":
        stay(order, days=999)
        mark_overdue()
        cancel(order)
    stay(order, days=999)
    assert (mark_overdue(), overdue(order)) == (0, False)


def test_an_order_whose_goods_are_late_is_marked_once_and_its_purchase_order_too() -> None:
    order, other = placed(chair=2), placed(lamp=1)
    [late] = bought_for(order)
    purchase.expect_goods(late.id, timezone.now(), by="Ada")
    for _ in range(2):
        purchase.mark_overdue()
        settle()
    assert (overdue(order), overdue(other)) == (True, False)
    assert (said("purchase.PurchaseOrderOverdue"), said("sales.SalesOrderOverdue")) == (1, 1)
    purchase.expect_goods(late.id, timezone.now() + timedelta(days=1), by="Ada")
    purchase.mark_overdue()
    settle()
    assert not overdue(order)
    purchase.expect_goods(late.id, timezone.now(), by="Ada")
    purchase.mark_overdue()
    settle()
    assert overdue(order)
    assert (said("purchase.PurchaseOrderOverdue"), said("sales.SalesOrderOverdue")) == (2, 2)


def test_an_order_that_awaits_late_goods_stays_overdue_when_it_is_changed() -> None:
    order = placed(chair=2)
    purchase.expect_goods(bought_for(order)[0].id, timezone.now(), by="Ada")
    purchase.mark_overdue()
    settle()
    change(order, chair=3)
    assert (state(order), overdue(order)) == ("awaiting_goods_received", True)


def test_more_orders_than_one_transaction_marks_are_all_marked(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.ORDERFLOW_LIMITS = {"awaiting_goods_received": timedelta(days=1)}
    monkeypatch.setattr("sales.services.MARKED_AT_ONCE", 2)
    for _ in range(5):
        placed(chair=2)
    OrderStatus.objects.update(since=LONG_AGO)
    assert [mark_overdue() for _ in range(4)] == [2, 2, 1, 0]
    OrderStatus.objects.update(overdue=False)
    look_at_the_clock()
    assert OrderStatus.objects.filter(overdue=True).count() == 5


def test_a_late_purchase_order_that_nobody_waits_for_any_more_marks_no_order(settings: Any) -> None:
    settings.ORDERFLOW_CANCEL_PURCHASES = "never"
    order = placed(chair=2)
    cancel(order)
    purchase.expect_goods(bought_for(order)[0].id, timezone.now(), by="Ada")
    purchase.mark_overdue()
    settle()
    assert (overdue(order), said("sales.SalesOrderOverdue")) == (False, 0)
    assert not Delivery.objects.exists()


# -- what comes too late --------------------------------------------------------------------------------------------------


def accepted(order_id: UUID) -> ReservationAccepted:
    return ReservationAccepted(reservation_id=order_id, revision=1, request=1)


def test_stocks_answer_to_a_cancelled_order_is_released_again_and_delivers_nothing() -> None:
    put_on_the_shelf("chair", 2)
    order = placed(delivery="manual", chair=2)
    cancel(order)
    with transaction.atomic():
        publish([Outgoing(message=accepted(order.id))])
    settle()
    assert (state(order), said("stock.ReleaseReservation"), said("stock.ShipReservation")) == ("cancelled", 2, 0)
    assert not Delivery.objects.exists()
