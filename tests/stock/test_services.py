from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction

from orderflow.catalog.quantities import QuantityOutOfRange
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived, PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services import Arrival, NewPurchaseOrder, close_short, create_purchase_orders, receive_goods
from sales.services import NewOrder, cancel_orders, place_orders
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation
from stock.models import Balance, Movement, Reservation, ReservationLine, StockMovement
from stock.services import (
    Adjustment,
    AdjustmentOutOfRange,
    AdjustmentTaken,
    GoodsPromisedOrGone,
    MoreThanReceived,
    NotEnoughAvailable,
    Reversal,
    ReversalTaken,
    adjust_stock,
    reverse_receipt,
)
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)

together_or_one_by_one = pytest.mark.parametrize("batch", [None, 1], ids=["together", "one by one"])

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def put_on_the_shelf(sku: str, quantity: int) -> None:
    adjust_stock([Adjustment(product_id=product(sku), quantity=quantity, reason="found")], by="Ada")


def hear(*messages: Message, batch: int | None = None) -> None:
    """Stock hears these messages: in one batch, or in batches of this size."""
    with transaction.atomic():
        publish([Outgoing(message=message) for message in messages])
    drain("stock", batch=batch)


def request(
    reservation_id: UUID,
    *,
    number: int = 1,
    revision: int = 1,
    priority: int = 0,
    days_later: int = 0,
    hold_parts: bool = False,
    **wanted: int,
) -> MakeReservation:
    return MakeReservation(
        reservation_id=reservation_id,
        revision=revision,
        request=number,
        lines=tuple(lines(**wanted)),
        priority=priority,
        placed_at=LONG_AGO + timedelta(days=days_later),
        hold_parts=hold_parts,
    )


def receipt(*, bought_for: UUID | None = None, **arrived: int) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=uuid4(),
        receipt_id=uuid4(),
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity, bought_for=bought_for) for line in lines(**arrived)
        ),
        complete=True,
    )


def answers() -> list[str]:
    return [row.type.removeprefix("stock.") for row in _answers()]


def last_answer() -> dict[str, Any]:
    payload: dict[str, Any] = _answers()[-1].payload
    return payload


def _answers() -> list[StoredMessage]:
    return list(StoredMessage.objects.filter(type__startswith="stock.Reservation").order_by("id"))


def release(reservation_id: UUID) -> ReleaseReservation:
    return ReleaseReservation(reservation_id=reservation_id)


def status(reservation_id: UUID) -> str:
    return Reservation.objects.get(id=reservation_id).status


def missing() -> dict[str, int]:
    """By product, of the last answer."""
    return {line["product_id"]: line["quantity"] for line in last_answer()["missing"]}


def level(sku: str) -> tuple[int, int]:
    balance = Balance.objects.get(product=product(sku))
    return balance.on_hand, balance.reserved


def held(reservation_id: UUID) -> dict[str, int]:
    return dict(ReservationLine.objects.filter(reservation=reservation_id).values_list("product__sku", "held"))


def test_what_is_there_is_promised() -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(request(order, chair=3))
    assert answers() == ["ReservationAccepted"]
    assert level("chair") == (5, 3)


def test_a_rejection_says_what_is_missing_of_each_line_and_a_full_line_is_held() -> None:
    put_on_the_shelf("chair", 5)
    put_on_the_shelf("desk", 1)
    order = uuid4()
    hear(request(order, chair=3, desk=2, lamp=1))
    assert {line["product_id"]: line["quantity"] for line in last_answer()["missing"]} == {
        str(product("desk")): 2,
        str(product("lamp")): 1,
    }
    assert held(order) == {"chair": 3, "desk": 0, "lamp": 0}


def test_asked_again_stock_answers_again_with_the_number_of_the_question() -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(request(order, chair=3), request(order, number=2, chair=3))
    assert answers() == ["ReservationAccepted", "ReservationAccepted"]
    assert last_answer()["request"] == 2
    assert level("chair") == (5, 3)


def test_who_waits_and_asks_again_gets_what_is_there_as_a_part() -> None:
    put_on_the_shelf("chair", 2)
    order = uuid4()
    hear(request(order, chair=3))
    assert held(order) == {"chair": 0}
    hear(request(order, number=2, chair=3))
    assert held(order) == {"chair": 2}
    assert last_answer()["missing"][0]["quantity"] == 1


def test_goods_that_arrive_serve_everybody_they_reach_in_one_batch() -> None:
    older, newer, newest = uuid4(), uuid4(), uuid4()
    hear(request(newer, days_later=1, chair=5), request(older, chair=5), request(newest, days_later=2, chair=5))
    hear(receipt(chair=11))
    assert [held(each) for each in (older, newer, newest)] == [{"chair": 5}, {"chair": 5}, {"chair": 1}]
    assert answers() == ["ReservationRejected"] * 3 + ["ReservationAccepted"] * 2
    assert level("chair") == (11, 11)


def test_receipts_of_one_batch_are_dealt_out_one_by_one() -> None:
    older, newer = uuid4(), uuid4()
    hear(request(older, chair=2), request(newer, days_later=1, chair=2))
    hear(receipt(chair=1, bought_for=newer), receipt(chair=1, bought_for=older), receipt(chair=1))
    assert (held(older), held(newer)) == ({"chair": 2}, {"chair": 1})


def test_goods_for_a_waiting_order_cannot_be_taken_by_a_newer_one() -> None:
    waiting, newer = uuid4(), uuid4()
    hear(request(waiting, chair=2))
    hear(receipt(chair=2, bought_for=waiting), request(newer, days_later=1, chair=1))
    assert (held(waiting), held(newer)) == ({"chair": 2}, {"chair": 0})


def test_goods_that_were_bought_for_nobody_we_know_serve_who_waits() -> None:
    waiting = uuid4()
    hear(request(waiting, chair=2))
    hear(receipt(chair=2, bought_for=uuid4()))
    assert held(waiting) == {"chair": 2}


def test_goods_that_nobody_waits_for_lie_on_the_shelf() -> None:
    hear(receipt(chair=2))
    assert level("chair") == (2, 0)


def test_a_reservation_and_its_goods_in_one_batch_meet() -> None:
    order = uuid4()
    hear(request(order, chair=2), receipt(chair=2, bought_for=order), ShipReservation(reservation_id=order))
    assert level("chair") == (0, 0)


def test_the_same_receipt_is_booked_once() -> None:
    arrived = receipt(chair=2)
    hear(arrived)
    hear(arrived)
    assert level("chair") == (2, 0)


def test_shipping_takes_the_goods_off_the_shelf_once() -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(request(order, chair=3), ShipReservation(reservation_id=order), ShipReservation(reservation_id=order))
    assert level("chair") == (2, 0)
    assert Reservation.objects.get().status == "shipped"


def test_it_rejects_shipping_what_was_not_promised() -> None:
    order = uuid4()
    hear(request(order, chair=3), ShipReservation(reservation_id=order))
    assert "cannot be shipped" in Delivery.objects.get(consumer="stock").last_error


def test_goods_that_are_found_serve_who_waits() -> None:
    order = uuid4()
    hear(request(order, chair=3))
    put_on_the_shelf("chair", 3)
    assert answers()[-1] == "ReservationAccepted"


def test_an_adjustment_is_booked_once() -> None:
    found = Adjustment(product_id=product("chair"), quantity=3, reason="found")
    assert adjust_stock([found], by="Ada") == [found.id]
    assert adjust_stock([found], by="Ada") == []
    assert level("chair") == (3, 0)


def test_an_adjustment_that_is_named_twice_in_one_call_is_booked_once() -> None:
    found = Adjustment(product_id=product("chair"), quantity=3, reason="found")
    assert adjust_stock([found, found], by="Ada") == [found.id]
    assert level("chair") == (3, 0)


def test_it_rejects_an_adjustment_under_an_id_that_is_taken() -> None:
    found = Adjustment(product_id=product("chair"), quantity=3, reason="found")
    adjust_stock([found], by="Ada")
    with pytest.raises(AdjustmentTaken):
        adjust_stock([Adjustment(id=found.id, product_id=product("chair"), quantity=4, reason="found")], by="Ada")


def test_it_rejects_taking_away_what_is_promised() -> None:
    put_on_the_shelf("chair", 5)
    hear(request(uuid4(), chair=3))
    with pytest.raises(NotEnoughAvailable, match="of 5 on hand 3 are promised, so 2 can"):
        put_on_the_shelf("chair", -3)
    put_on_the_shelf("chair", -2)
    assert level("chair") == (3, 3)


@pytest.mark.parametrize("quantity", [0, 1_000_000_001, -1_000_000_001])
def test_it_rejects_an_adjustment_out_of_range(quantity: int) -> None:
    with pytest.raises(AdjustmentOutOfRange, match="plus or minus"):
        put_on_the_shelf("chair", quantity)


def test_the_database_itself_never_lets_more_be_promised_than_there_is() -> None:
    put_on_the_shelf("chair", 5)
    with pytest.raises(IntegrityError, match="reserved_never_exceeds_on_hand"):
        Balance.objects.update(reserved=6)


def test_both_numbers_can_be_rebuilt_from_the_ledger() -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(request(order, chair=3), receipt(chair=4), ShipReservation(reservation_id=order))
    moved = StockMovement.objects.values_list("kind", "on_hand", "reserved").order_by("id")
    assert list(moved) == [
        (Movement.ADJUSTED, 5, 0),
        (Movement.PROMISED, 0, 3),
        (Movement.RECEIVED, 4, 0),
        (Movement.SHIPPED, -3, -3),
    ]


# -- releasing ------------------------------------------------------------------------------------------------------------


@together_or_one_by_one
def test_what_is_released_serves_who_waits_in_the_order_of_priority_and_time(batch: int | None) -> None:
    put_on_the_shelf("chair", 4)
    leaving, newer, older, urgent = (uuid4() for _ in range(4))
    hear(
        request(leaving, chair=4),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        request(urgent, days_later=3, priority=1, chair=1),
        release(leaving),
        batch=batch,
    )
    assert [held(each) for each in (urgent, older, newer)] == [{"chair": 1}, {"chair": 2}, {"chair": 1}]
    assert [status(each) for each in (leaving, urgent, older, newer)] == ["released", "accepted", "accepted", "waiting"]
    assert held(leaving) == {"chair": 0}
    assert level("chair") == (4, 4)


@together_or_one_by_one
def test_who_waits_and_is_released_gives_up_its_part_and_its_place_in_line(batch: int | None) -> None:
    put_on_the_shelf("chair", 1)
    leaving, waiting = uuid4(), uuid4()
    hear(
        request(leaving, hold_parts=True, chair=2),
        request(waiting, days_later=1, chair=2),
        release(leaving),
        receipt(chair=1, bought_for=leaving),
        batch=batch,
    )
    assert (held(leaving), held(waiting)) == ({"chair": 0}, {"chair": 2})
    assert answers() == ["ReservationRejected", "ReservationRejected", "ReservationAccepted"]
    assert level("chair") == (2, 2)


def test_who_is_first_in_line_and_leaves_it_in_the_same_batch_keeps_nobody_from_being_served() -> None:
    put_on_the_shelf("chair", 4)
    holding, first, second = (uuid4() for _ in range(3))
    hear(request(holding, chair=4), request(first, days_later=1, chair=4), request(second, days_later=2, chair=4))
    hear(release(first), release(holding))
    assert (held(first), held(second), status(second)) == ({"chair": 0}, {"chair": 4}, "accepted")


def test_what_a_change_added_and_a_release_gives_up_in_one_batch_serves_who_waits() -> None:
    # Seen to fail: where what a reservation wants after its change is not remembered for its release.
    put_on_the_shelf("desk", 4)
    leaving, waiting = uuid4(), uuid4()
    hear(request(leaving, chair=1), request(waiting, days_later=1, desk=5))
    hear(request(leaving, revision=2, number=2, desk=4), release(leaving))
    assert (held(waiting), status(leaving), level("desk")) == ({"desk": 4}, "released", (4, 4))


def test_of_a_long_line_only_those_are_read_who_are_served() -> None:
    urgent, older, newer, newest, elsewhere = (uuid4() for _ in range(5))
    hear(
        request(newest, days_later=3, chair=2),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        request(urgent, days_later=9, priority=1, chair=2),
        request(elsewhere, desk=2),
    )
    waiting = ReservationLine.objects.that_wait()
    chair, desk = product("chair"), product("desk")
    assert set(waiting.reached_by({chair: 1})) == {urgent}
    assert set(waiting.reached_by({chair: 2})) == {urgent}
    assert set(waiting.reached_by({chair: 3, desk: 1})) == {urgent, older, elsewhere}
    assert set(waiting.reached_by({chair: 5})) == {urgent, older, newer}
    assert set(waiting.reached_by({chair: 10**12})) == {urgent, older, newer, newest}


@together_or_one_by_one
def test_what_is_released_lies_on_the_shelf_when_nobody_waits_and_is_written_down(batch: int | None) -> None:
    put_on_the_shelf("chair", 3)
    order = uuid4()
    hear(request(order, chair=2), release(order), batch=batch)
    assert level("chair") == (3, 0)
    last = StockMovement.objects.latest("id")
    assert (last.kind, last.on_hand, last.reserved, last.document) == ("released", 0, -2, order)
    assert last.message_id == StoredMessage.objects.get(type="stock.ReleaseReservation").pk


@together_or_one_by_one
def test_a_reservation_that_is_released_before_it_is_asked_for_is_never_made(batch: int | None) -> None:
    put_on_the_shelf("chair", 3)
    order = uuid4()
    hear(release(order), request(order, chair=2), request(order, number=2, revision=2, chair=1), batch=batch)
    assert (status(order), held(order), answers()) == ("released", {}, [])
    assert level("chair") == (3, 0)


@together_or_one_by_one
def test_releasing_twice_is_the_same_as_once(batch: int | None) -> None:
    put_on_the_shelf("chair", 3)
    order, unknown = uuid4(), uuid4()
    hear(request(order, chair=2), release(order), release(order), release(unknown), release(unknown), batch=batch)
    assert StockMovement.objects.filter(kind=Movement.RELEASED).count() == 1
    assert level("chair") == (3, 0)
    assert not Delivery.objects.filter(consumer="stock").exists()


@together_or_one_by_one
def test_it_rejects_releasing_what_was_shipped(batch: int | None) -> None:
    put_on_the_shelf("chair", 3)
    order = uuid4()
    hear(request(order, chair=2), ShipReservation(reservation_id=order), release(order), batch=batch)
    letter = Delivery.objects.get(consumer="stock")
    assert letter.state == "dead"
    assert "cannot be released: it was shipped" in letter.last_error
    assert (status(order), level("chair")) == ("shipped", (1, 0))


# -- wanting something else -----------------------------------------------------------------------------------------------


@together_or_one_by_one
def test_who_wants_less_keeps_that_and_is_accepted_again_and_the_rest_serves_who_waits_in_line(batch: int | None) -> None:
    put_on_the_shelf("chair", 5)
    shrinking, newer, older = (uuid4() for _ in range(3))
    hear(
        request(shrinking, chair=5),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        request(shrinking, number=2, revision=2, chair=2),
        batch=batch,
    )
    assert [held(each) for each in (shrinking, older, newer)] == [{"chair": 2}, {"chair": 2}, {"chair": 1}]
    assert [status(each) for each in (shrinking, older, newer)] == ["accepted", "accepted", "waiting"]
    accepted = StoredMessage.objects.filter(type="stock.ReservationAccepted", key=shrinking).order_by("id")
    assert [(row.payload["revision"], row.payload["request"]) for row in accepted] == [(1, 1), (2, 2)]
    assert level("chair") == (5, 5)


@together_or_one_by_one
def test_who_wants_more_keeps_what_it_holds_and_takes_from_the_shelf_what_is_there(batch: int | None) -> None:
    put_on_the_shelf("chair", 4)
    order = uuid4()
    hear(request(order, chair=3), request(order, number=2, revision=2, chair=6), batch=batch)
    assert (status(order), held(order)) == ("waiting", {"chair": 4})
    assert missing() == {str(product("chair")): 2}
    assert (last_answer()["revision"], last_answer()["request"]) == (2, 2)
    assert level("chair") == (4, 4)


@together_or_one_by_one
def test_who_wants_other_products_drops_and_adds_lines(batch: int | None) -> None:
    put_on_the_shelf("chair", 2)
    put_on_the_shelf("desk", 1)
    put_on_the_shelf("lamp", 1)
    order, waiting = uuid4(), uuid4()
    hear(
        request(order, chair=2, desk=1),
        request(waiting, days_later=1, chair=1),
        request(order, number=2, revision=2, desk=1, lamp=1),
        batch=batch,
    )
    assert held(order) == {"desk": 1, "lamp": 1}
    assert (status(order), status(waiting)) == ("accepted", "accepted")
    assert [level(sku) for sku in ("chair", "desk", "lamp")] == [(2, 1), (1, 1), (1, 1)]


@together_or_one_by_one
def test_a_product_that_is_dropped_and_wanted_again_has_one_line(batch: int | None) -> None:
    put_on_the_shelf("chair", 2)
    order = uuid4()
    hear(
        request(order, chair=1),
        request(order, number=2, revision=2, desk=1),
        request(order, number=3, revision=3, chair=2),
        batch=batch,
    )
    assert (status(order), held(order)) == ("accepted", {"chair": 2})
    assert level("chair") == (2, 2)
    assert level("desk") == (0, 0)


@together_or_one_by_one
def test_goods_that_were_bought_for_what_is_not_wanted_any_more_serve_who_waits(batch: int | None) -> None:
    shrinking, waiting = uuid4(), uuid4()
    hear(
        request(shrinking, chair=3),
        request(waiting, days_later=1, chair=2),
        request(shrinking, number=2, revision=2, chair=1),
        receipt(chair=3, bought_for=shrinking),
        batch=batch,
    )
    assert (held(shrinking), held(waiting)) == ({"chair": 1}, {"chair": 2})
    assert (status(shrinking), status(waiting)) == ("accepted", "accepted")


@together_or_one_by_one
def test_who_lacks_nothing_of_its_smaller_wish_is_accepted_while_it_waits(batch: int | None) -> None:
    put_on_the_shelf("chair", 1)
    order = uuid4()
    hear(request(order, hold_parts=True, chair=3), request(order, number=2, revision=2, chair=1), batch=batch)
    assert answers() == ["ReservationRejected", "ReservationAccepted"]
    assert level("chair") == (1, 1)


@together_or_one_by_one
def test_an_older_wish_is_ignored(batch: int | None) -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(request(order, number=2, revision=2, chair=2), request(order, number=1, chair=5), batch=batch)
    assert (held(order), answers()) == ({"chair": 2}, ["ReservationAccepted"])
    assert Reservation.objects.get().revision == 2


@together_or_one_by_one
def test_it_changes_nothing_of_what_was_shipped(batch: int | None) -> None:
    put_on_the_shelf("chair", 5)
    order = uuid4()
    hear(
        request(order, chair=2),
        ShipReservation(reservation_id=order),
        request(order, number=2, revision=2, chair=4),
        batch=batch,
    )
    assert (status(order), held(order), level("chair")) == ("shipped", {"chair": 2}, (3, 0))


# -- reversing receipts ---------------------------------------------------------------------------------------------------


def received(**quantities: int) -> Arrival:
    """A receipt of all of a purchase order, which Stock has booked."""
    pegged = [PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines(**quantities)]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged)])
    arrival = Arrival(purchase_order_id=order.id)
    receive_goods([arrival])
    drain("stock")
    return arrival


def reversal(arrival: Arrival, sku: str, quantity: int) -> Reversal:
    return Reversal(receipt_id=arrival.id, product_id=product(sku), quantity=quantity, reason="miscounted")


def test_what_was_counted_wrongly_leaves_the_shelf_and_is_still_to_come() -> None:
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("chair"), quantity=5)])])
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=4))
    receive_goods([arrival])
    settle()
    reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    assert level("chair") == (2, 0)
    settle()
    assert PurchaseOrder.objects.get().status == "partially_received"
    assert PurchaseOrderLine.objects.get().received == 2
    receive_goods([Arrival(purchase_order_id=order.id)])
    settle()
    assert level("chair") == (5, 0)


def test_a_purchase_order_of_which_nothing_came_after_all_is_open_again() -> None:
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("chair"), quantity=5)])])
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=4))
    receive_goods([arrival])
    settle()
    reverse_receipt(reversal(arrival, "chair", 4), by="Ada")
    settle()
    assert PurchaseOrder.objects.get().status == "open"


def test_a_purchase_order_that_nobody_needs_and_of_which_nothing_came_after_all_is_cancelled() -> None:
    # Seen to fail: where it is open again, and nobody knows of it.
    [sales_order] = place_orders([NewOrder(lines=lines(chair=5))])
    settle()
    arrival = Arrival(purchase_order_id=PurchaseOrder.objects.get().id, lines=lines(chair=2))
    receive_goods([arrival])
    settle()
    cancel_orders([sales_order.id], by="Ada")
    settle()
    assert PurchaseOrder.objects.get().status == "partially_received"
    reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    settle()
    assert PurchaseOrder.objects.get().status == "cancelled"
    assert StoredMessage.objects.filter(type="purchase.PurchaseOrderCancelled").count() == 1


def test_a_purchase_order_that_was_complete_is_closed_short_by_a_reversal_and_says_who_and_why() -> None:
    arrival = received(chair=5, desk=1)
    reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    settle()
    order = PurchaseOrder.objects.get()
    assert dict(PurchaseOrderLine.objects.values_list("product__sku", "received")) == {"chair": 3, "desk": 1}
    change = order.changes.get()
    assert (change.from_status, change.to_status, change.by, change.reason) == ("received", "closed_short", "Ada", "miscounted")


def test_a_purchase_order_that_was_closed_short_stays_closed() -> None:
    pegged = [PeggedQuantity(product_id=product("chair"), quantity=5)]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged)])
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=3))
    receive_goods([arrival])
    close_short([order.id], by="Ada")
    settle()
    reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    settle()
    assert PurchaseOrder.objects.get().status == "closed_short"
    assert PurchaseOrderLine.objects.get().received == 1


def test_a_reversal_is_a_row_of_the_ledger_that_names_the_receipt_it_corrects() -> None:
    arrival = received(chair=5)
    mistake = reversal(arrival, "chair", 2)
    reverse_receipt(mistake, by="Ada")
    row = StockMovement.objects.latest("id")
    assert (row.kind, row.on_hand, row.reserved) == (Movement.REVERSED, -2, 0)
    assert (row.document, row.corrects, row.by, row.reason) == (mistake.id, arrival.id, "Ada", "miscounted")


def test_a_reversal_is_booked_once() -> None:
    mistake = reversal(received(chair=5), "chair", 2)
    reverse_receipt(mistake, by="Ada")
    reverse_receipt(mistake, by="Ada")
    settle()
    assert level("chair") == (3, 0)
    assert PurchaseOrderLine.objects.get().received == 3
    assert StoredMessage.objects.filter(type="purchase.ReverseReceipt").count() == 1


@pytest.mark.parametrize(("sku", "quantity"), [("chair", 1), ("desk", 2)])
def test_it_rejects_another_reversal_under_an_id_that_is_taken(sku: str, quantity: int) -> None:
    arrival = received(chair=5, desk=2)
    mistake = reversal(arrival, "chair", 2)
    reverse_receipt(mistake, by="Ada")
    with pytest.raises(ReversalTaken, match=str(mistake.id)):
        reverse_receipt(
            Reversal(id=mistake.id, receipt_id=arrival.id, product_id=product(sku), quantity=quantity, reason=""), by="Ada"
        )
    assert (level("chair"), level("desk")) == ((3, 0), (2, 0))


def test_it_rejects_reversing_more_than_was_received_even_little_by_little() -> None:
    put_on_the_shelf("chair", 9)
    arrival = received(chair=5)
    with pytest.raises(MoreThanReceived, match=r"has booked 5 of this product with receipt .*: 6 of it cannot be reversed"):
        reverse_receipt(reversal(arrival, "chair", 6), by="Ada")
    reverse_receipt(reversal(arrival, "chair", 4), by="Ada")
    with pytest.raises(MoreThanReceived, match=r"has booked 1 of this product with receipt .*: 2 of it cannot be reversed"):
        reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    assert level("chair") == (10, 0)


def test_it_rejects_reversing_what_did_not_come_with_the_receipt() -> None:
    put_on_the_shelf("lamp", 9)
    with pytest.raises(MoreThanReceived, match="nothing of this product"):
        reverse_receipt(reversal(received(chair=5), "lamp", 1), by="Ada")


def test_it_rejects_reversing_what_stock_has_not_booked_yet() -> None:
    put_on_the_shelf("chair", 9)
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("chair"), quantity=5)])])
    arrival = Arrival(purchase_order_id=order.id)
    receive_goods([arrival])
    with pytest.raises(MoreThanReceived, match="or not yet"):
        reverse_receipt(reversal(arrival, "chair", 1), by="Ada")


@pytest.mark.parametrize("shipped", [False, True])
def test_it_rejects_reversing_what_is_promised_or_gone_and_says_what_to_do(shipped: bool) -> None:
    arrival, order = received(chair=5), uuid4()
    hear(request(order, chair=4), *([ShipReservation(reservation_id=order)] if shipped else []))
    cure = r"so 1 can\. What has left.*count the shelf" if shipped else r"so 1 can\. Cancel or change a sales order"
    with pytest.raises(GoodsPromisedOrGone, match=cure):
        reverse_receipt(reversal(arrival, "chair", 2), by="Ada")
    reverse_receipt(reversal(arrival, "chair", 1), by="Ada")
    assert level("chair") == ((0, 0) if shipped else (4, 4))


@pytest.mark.parametrize("quantity", [0, -1])
def test_it_rejects_a_reversal_of_nothing(quantity: int) -> None:
    with pytest.raises(QuantityOutOfRange):
        reverse_receipt(reversal(received(chair=5), "chair", quantity), by="Ada")
