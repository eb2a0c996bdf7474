from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction

from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived, PeggedQuantity
from stock.contract import MakeReservation, ShipReservation
from stock.models import Balance, Movement, Reservation, ReservationLine, StockMovement
from stock.services import Adjustment, AdjustmentOutOfRange, AdjustmentTaken, NotEnoughAvailable, adjust_stock
from tests.conftest import lines, product

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def put_on_the_shelf(sku: str, quantity: int) -> None:
    adjust_stock([Adjustment(product_id=product(sku), quantity=quantity, reason="found")], by="Ada")


def hear(*messages: Message) -> None:
    """Stock hears these messages, in one batch."""
    with transaction.atomic():
        publish([Outgoing(message=message) for message in messages])
    drain("stock")


def request(
    reservation_id: UUID, *, number: int = 1, days_later: int = 0, hold_parts: bool = False, **wanted: int
) -> MakeReservation:
    return MakeReservation(
        reservation_id=reservation_id,
        revision=1,
        request=number,
        lines=tuple(lines(**wanted)),
        priority=0,
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
