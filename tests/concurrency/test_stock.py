"""Two at once on Stock's shelf.

Its consumer is drained by one process at a time, but people adjust stock beside it. Here even two of its batches run at once,
as they would without the consumer's lock: the locks of balances and reservations must do alone.
"""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import F, Sum
from django.utils import timezone

from orderflow.catalog.quantities import checked_lines
from orderflow.messaging.messages import Message, Received
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived, PeggedQuantity, ReverseReceipt
from stock.contract import MakeReservation, ReleaseReservation, ReservationAccepted, ReservationRejected
from stock.models import Balance, BalanceQuerySet, Reservation, ReservationLine, ReservationQuerySet, StockMovement
from stock.services import (
    Adjustment,
    AdjustmentTaken,
    GoodsPromisedOrGone,
    MoreThanReceived,
    NotEnoughAvailable,
    Reversal,
    adjust_stock,
    ledger,
    reverse_receipt,
    take,
    work,
)
from tests.concurrency.conftest import announced, put_on_the_shelf
from tests.concurrency.threads import Act, locked_in_opposite_orders, meet, pile_up, refused, without_locks
from tests.conftest import lines, product

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

WRITING = (work.Work, "save")  # everything is locked and decided, nothing is written
BOOKED = (work, "publish")  # everything is written, and not committed


# -- the last unit --------------------------------------------------------------------------------------------------------


def test_of_two_orders_at_once_for_the_last_unit_the_first_gets_it() -> None:
    # Seen to fail: without the balance's lock, see the next test.
    put_on_the_shelf(chair=1)

    asked = meet(taking(an_order(chair=1)), taking(an_order(chair=1)), at=WRITING)

    assert asked.second_waited
    assert (announced(ReservationAccepted), announced(ReservationRejected)) == (1, 1)
    assert held("chair") == balance("chair").reserved == balance("chair").on_hand == 1


def test_without_the_lock_of_the_balance_the_last_unit_is_promised_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf(chair=1)
    without_locks(monkeypatch, BalanceQuerySet)

    asked = meet(taking(an_order(chair=1)), taking(an_order(chair=1)), at=WRITING)

    assert not asked.second_waited
    assert announced(ReservationAccepted) == 2
    assert held("chair") == 2
    assert balance("chair").reserved == 1  # each wrote what it believed: the constraint has nothing to object to


def test_of_two_orders_at_once_that_name_the_product_twice_one_gets_all_of_it() -> None:
    # Seen to fail: where quantities of one product are not added up, see the next test.
    put_on_the_shelf(chair=3)

    asked = meet(taking(an_order_twice("chair", 2, 1)), taking(an_order_twice("chair", 2, 1)), at=WRITING)

    assert asked.second_waited
    assert (announced(ReservationAccepted), announced(ReservationRejected)) == (1, 1)
    assert held("chair") == balance("chair").reserved == 3


def test_without_adding_them_up_both_are_accepted_although_each_lacks_most_of_it() -> None:
    put_on_the_shelf(chair=3)
    careless = [replace(an_order_twice("chair", 2, 1), lines=(*lines(chair=2), *lines(chair=1))) for _ in range(2)]

    meet(*(taking(each) for each in careless), at=WRITING)

    assert announced(ReservationAccepted) == 2
    assert held("chair") == 2  # of the six that were wanted


# -- opposite orders ------------------------------------------------------------------------------------------------------


def test_two_orders_for_the_same_products_in_opposite_order_do_not_deadlock() -> None:
    # Seen to fail: with the balances locked in two different orders, see the next test.
    put_on_the_shelf(chair=2, sofa=2, table=2)

    pile_up(taking(an_order(*PRODUCTS)), taking(an_order(*reversed(PRODUCTS))), holding=the_middle_balance)

    assert announced(ReservationAccepted) == 2


def test_without_one_order_of_locking_balances_they_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf(chair=2, sofa=2, table=2)
    locked_in_opposite_orders(monkeypatch, BalanceQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        pile_up(taking(an_order(*PRODUCTS)), taking(an_order(*reversed(PRODUCTS))), holding=the_middle_balance)


def test_two_orders_for_products_that_stock_meets_for_the_first_time_do_not_deadlock() -> None:
    # Seen to fail: with the new balances inserted in two different orders, see the next test.
    pile_up(taking(an_order(*PRODUCTS)), taking(an_order(*reversed(PRODUCTS))), holding=a_new_middle_balance)

    assert announced(ReservationRejected) == 2
    assert Balance.objects.count() == len(PRODUCTS)


def test_without_one_order_of_inserting_balances_they_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    downwards = iter([False, True])
    monkeypatch.setattr(ledger, "sorted", lambda rows: sorted(rows, reverse=next(downwards)), raising=False)

    with pytest.raises(OperationalError, match="deadlock detected"):
        pile_up(taking(an_order(*PRODUCTS)), taking(an_order(*reversed(PRODUCTS))), holding=a_new_middle_balance)


def test_two_increases_for_the_same_waiting_orders_do_not_deadlock() -> None:
    # Seen to fail: with the reservations locked in two different orders, see the next test.
    three_orders_wait_for(chair=1, table=1)

    pile_up(finding(chair=3), finding(table=3), holding=the_middle_reservation)

    assert announced(ReservationAccepted) == 3


def test_without_one_order_of_locking_reservations_they_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    three_orders_wait_for(chair=1, table=1)
    locked_in_opposite_orders(monkeypatch, ReservationQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        pile_up(finding(chair=3), finding(table=3), holding=the_middle_reservation)


# -- two increases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["found", "received", "bought for it"])
@pytest.mark.parametrize("second", ["found", "received", "bought for it"])
def test_two_increases_at_once_that_complete_an_order_announce_it_once(first: str, second: str) -> None:
    # Seen to fail: without the reservation's lock, see the next test; and with its lines read before the lock is there.
    waiting = an_order("chair", "table")
    taking(waiting)()

    increased = meet(increase(first, "chair", waiting), increase(second, "table", waiting), at=WRITING)

    assert increased.second_waited
    assert Reservation.objects.get().status == "accepted"
    assert announced(ReservationAccepted) == 1


def test_without_the_lock_of_the_reservation_nobody_announces_what_two_increases_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taking(an_order("chair", "table"))()
    without_locks(monkeypatch, ReservationQuerySet)

    increased = meet(finding(chair=1), finding(table=1), at=WRITING)

    assert not increased.second_waited
    assert not ReservationLine.objects.filter(held__lt=F("quantity")).exists()
    assert announced(ReservationAccepted) == 0


# -- what is taken away ---------------------------------------------------------------------------------------------------


def test_goods_that_are_being_promised_cannot_be_taken_away() -> None:
    # Seen to fail: without the balance's lock, see below.
    put_on_the_shelf(chair=1)

    adjusted = meet(taking(an_order(chair=1)), refused(NotEnoughAvailable, losing(chair=1)), at=WRITING)

    assert adjusted.second_waited
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (1, 1)


def test_goods_that_are_being_taken_away_cannot_be_promised() -> None:
    # Seen to fail: without the balance's lock, see the next test.
    put_on_the_shelf(chair=1)

    adjusted = meet(losing(chair=1), taking(an_order(chair=1)), at=WRITING)

    assert adjusted.second_waited
    assert announced(ReservationRejected) == 1
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (0, 0)


@pytest.mark.parametrize("promised_first", [True, False])
def test_without_the_lock_of_the_balance_goods_are_promised_that_were_taken_away(
    monkeypatch: pytest.MonkeyPatch, promised_first: bool
) -> None:
    put_on_the_shelf(chair=1)
    promise, loss = taking(an_order(chair=1)), losing(chair=1)
    without_locks(monkeypatch, BalanceQuerySet)

    meet(*((promise, loss) if promised_first else (loss, promise)), at=WRITING)

    assert booked("chair") == (0, 1)  # one promised, none there; and the balance shows only what was written last


# -- what is given back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("released_first", [True, False])
@pytest.mark.parametrize("how", ["found", "received", "bought for it"])
def test_goods_that_are_released_while_others_arrive_serve_everybody_in_line(how: str, released_first: bool) -> None:
    # Seen to fail: without the balance's lock, see the next test.
    put_on_the_shelf(chair=1)
    leaving, waiting, newer = (an_order(chair=1) for _ in range(3))
    for order in (leaving, waiting, newer):
        taking(order)()
    release, arrive = releasing(leaving), increase(how, "chair", waiting)

    meeting = meet(*((release, arrive) if released_first else (arrive, release)), at=WRITING)

    assert meeting.second_waited
    assert statuses(leaving, waiting, newer) == ["released", "accepted", "accepted"]
    assert announced(ReservationAccepted) == 3
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (2, 2)


@pytest.mark.parametrize("released_first", [True, False])
def test_without_the_lock_of_the_balance_one_of_them_is_left_unserved(
    monkeypatch: pytest.MonkeyPatch, released_first: bool
) -> None:
    put_on_the_shelf(chair=1)
    leaving, waiting, newer = (an_order(chair=1) for _ in range(3))
    for order in (leaving, waiting, newer):
        taking(order)()
    release, arrive = releasing(leaving), finding(chair=1)
    without_locks(monkeypatch, BalanceQuerySet)
    without_locks(monkeypatch, ReservationQuerySet)

    meeting = meet(*((release, arrive) if released_first else (arrive, release)), at=WRITING)

    assert not meeting.second_waited
    assert "waiting" in statuses(waiting, newer)


@pytest.mark.parametrize("released_first", [True, False])
@pytest.mark.parametrize("how", ["found", "received", "bought for it"])
def test_an_order_that_waits_for_two_products_is_served_by_a_release_of_one_and_an_increase_of_the_other(
    how: str, released_first: bool
) -> None:
    # Seen to fail: without the reservation's lock, see the next test.
    put_on_the_shelf(chair=1)
    leaving, waiting = an_order(chair=1), an_order("chair", "table")
    taking(leaving)()
    taking(waiting)()
    release, arrive = releasing(leaving), increase(how, "table", waiting)

    meeting = meet(*((release, arrive) if released_first else (arrive, release)), at=WRITING)

    assert meeting.second_waited
    assert statuses(leaving, waiting) == ["released", "accepted"]
    assert announced(ReservationAccepted) == 2
    assert (booked("chair"), booked("table")) == ((1, 1), (1, 1))


def test_without_the_lock_of_the_reservation_nobody_announces_what_a_release_and_an_increase_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_on_the_shelf(chair=1)
    leaving, waiting = an_order(chair=1), an_order("chair", "table")
    taking(leaving)()
    taking(waiting)()
    release, arrive = releasing(leaving), finding(table=1)
    without_locks(monkeypatch, ReservationQuerySet)

    meeting = meet(release, arrive, at=WRITING)

    assert not meeting.second_waited
    assert statuses(waiting) == ["waiting"]
    assert not ReservationLine.objects.filter(reservation=waiting.reservation_id, held__lt=F("quantity")).exists()


@pytest.mark.parametrize("released_first", [True, False])
def test_two_releases_at_once_that_complete_an_order_announce_it_once(released_first: bool) -> None:
    # Seen to fail: without the reservation's lock nobody announces it, as above.
    put_on_the_shelf(chair=1, table=1)
    of_the_chair, of_the_table, waiting = an_order(chair=1), an_order(table=1), an_order("chair", "table")
    for order in (of_the_chair, of_the_table, waiting):
        taking(order)()
    releases = [releasing(of_the_chair), releasing(of_the_table)]

    meeting = meet(*(releases if released_first else releases[::-1]), at=WRITING)

    assert meeting.second_waited
    assert statuses(waiting) == ["accepted"]
    assert announced(ReservationAccepted) == 3


def test_what_a_smaller_wish_sets_free_and_what_is_found_meanwhile_serve_everybody_in_line() -> None:
    # Seen to fail: without the balance's lock one of them is left unserved.
    put_on_the_shelf(chair=2)
    shrinking, waiting, newer = an_order(chair=2), an_order(chair=1), an_order(chair=1)
    for order in (shrinking, waiting, newer):
        taking(order)()
    shrink = taking(replace(shrinking, revision=2, request=2, lines=tuple(lines(chair=1))))

    meeting = meet(shrink, finding(chair=1), at=WRITING)

    assert meeting.second_waited
    assert statuses(shrinking, waiting, newer) == ["accepted"] * 3
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (3, 3)


def test_goods_that_are_being_released_can_be_taken_away_once_nobody_waits() -> None:
    # Seen to fail: without the balance's lock, see below.
    put_on_the_shelf(chair=1)
    leaving = an_order(chair=1)
    taking(leaving)()

    adjusted = meet(releasing(leaving), losing(chair=1), at=WRITING)

    assert adjusted.second_waited
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (0, 0)


def test_goods_that_are_being_released_cannot_be_taken_away_from_who_waits() -> None:
    # Seen to fail: without the balance's lock, see the next test.
    put_on_the_shelf(chair=2)
    leaving, waiting = an_order(chair=1), an_order(chair=2)
    taking(leaving)()
    taking(waiting)()  # one of the two is on the shelf, and may be taken away until the other is there as well

    adjusted = meet(releasing(leaving), refused(NotEnoughAvailable, losing(chair=1)), at=WRITING)

    assert adjusted.second_waited
    assert statuses(leaving, waiting) == ["released", "accepted"]
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (2, 2)


def test_without_the_lock_of_the_balance_what_was_taken_away_is_promised_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf(chair=2)
    leaving, waiting = an_order(chair=1), an_order(chair=2)
    taking(leaving)()
    taking(waiting)()
    release, lose = releasing(leaving), losing(chair=1)
    without_locks(monkeypatch, BalanceQuerySet)

    meet(release, lose, at=WRITING)

    assert booked("chair") == (1, 2)  # two promised, one there; and the balance shows only what was written last


# -- what was counted wrongly ---------------------------------------------------------------------------------------------


def test_goods_that_are_being_promised_cannot_be_reversed() -> None:
    # Seen to fail: without the balance's lock, see below.
    receipt = received("chair")
    taking(receipt)()

    meeting = meet(taking(an_order(chair=1)), refused(GoodsPromisedOrGone, reversing(receipt)), at=WRITING)

    assert meeting.second_waited
    assert announced(ReverseReceipt) == 0
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (1, 1)


def test_goods_that_are_being_reversed_cannot_be_promised() -> None:
    # Seen to fail: without the balance's lock, see the next test.
    receipt = received("chair")
    taking(receipt)()

    meeting = meet(reversing(receipt), taking(an_order(chair=1)), at=WRITING)

    assert meeting.second_waited
    assert (announced(ReverseReceipt), announced(ReservationRejected)) == (1, 1)
    assert (balance("chair").on_hand, balance("chair").reserved) == booked("chair") == (0, 0)


@pytest.mark.parametrize("promised_first", [True, False])
def test_without_the_lock_of_the_balance_goods_are_promised_that_never_came(
    monkeypatch: pytest.MonkeyPatch, promised_first: bool
) -> None:
    receipt = received("chair")
    taking(receipt)()
    promise, reverse = taking(an_order(chair=1)), reversing(receipt)
    without_locks(monkeypatch, BalanceQuerySet)

    meet(*((promise, reverse) if promised_first else (reverse, promise)), at=WRITING)

    assert booked("chair") == (0, 1)


def test_two_reversals_at_once_never_take_back_more_than_was_received() -> None:
    # Seen to fail: without the balance's lock, see the next test.
    put_on_the_shelf(chair=1)  # so that it is not for want of goods that the second is refused
    receipt = received("chair")
    taking(receipt)()

    meeting = meet(reversing(receipt), refused(MoreThanReceived, reversing(receipt)), at=WRITING)

    assert meeting.second_waited
    assert announced(ReverseReceipt) == 1
    assert booked("chair") == (1, 0)


def test_without_the_lock_of_the_balance_more_is_taken_back_than_was_received(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf(chair=1)
    receipt = received("chair")
    taking(receipt)()
    without_locks(monkeypatch, BalanceQuerySet)

    meet(reversing(receipt), reversing(receipt), at=WRITING)

    assert announced(ReverseReceipt) == 2
    assert booked("chair") == (0, 0)


def test_a_reversal_that_is_reported_twice_at_once_is_booked_once() -> None:
    # Seen to fail: with `before` looked up before the lock is there, and nobody expecting the constraint to object.
    receipt = received("chair")
    taking(receipt)()
    report = reversing(receipt, reversal=uuid4())

    meeting = meet(report, report, at=WRITING)

    assert meeting.second_waited
    assert announced(ReverseReceipt) == 1
    assert booked("chair") == (0, 0)


# -- the same thing twice -------------------------------------------------------------------------------------------------


def test_a_receipt_that_reaches_stock_twice_at_once_is_booked_once() -> None:
    # Seen to fail: without the balance's lock, see the next test; and with `booked` looked up before the lock is there.
    put_on_the_shelf(chair=1)
    receipt = received("chair")

    meeting = meet(taking(receipt), taking(receipt), at=WRITING)

    assert meeting.second_waited
    assert booked("chair") == (2, 0)


def test_without_the_lock_of_the_balance_a_constraint_stops_the_second_booking(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_shelf(chair=1)
    receipt = received("chair")
    without_locks(monkeypatch, BalanceQuerySet)

    with pytest.raises(IntegrityError, match="a_receipt_is_booked_once"):
        meet(taking(receipt), taking(receipt), at=WRITING)

    assert booked("chair") == (2, 0)


def test_an_adjustment_that_is_reported_twice_at_once_is_booked_once() -> None:
    # Seen to fail: with `booked` looked up before the lock is there, the second ends in an IntegrityError.
    put_on_the_shelf(chair=1)
    adjustment = Adjustment(product_id=product("chair"), quantity=1, reason="found")

    def report() -> list[UUID]:
        return adjust_stock([adjustment], by="ann")

    reported = meet(report, report, at=WRITING)

    assert reported.second_waited
    assert (reported.first, reported.second) == ([adjustment.id], [])
    assert booked("chair") == (2, 0)


def test_it_refuses_an_adjustment_id_that_another_one_uses_at_the_same_moment() -> None:
    # Seen to fail: where nobody expects the constraint to object, the second ends in an IntegrityError.
    put_on_the_shelf(chair=1, table=1)
    adjustment = Adjustment(product_id=product("chair"), quantity=1, reason="found")
    another_one = replace(adjustment, product_id=product("table"))

    adjusted = meet(
        lambda: adjust_stock([adjustment], by="ann"),
        refused(AdjustmentTaken, lambda: adjust_stock([another_one], by="bob")),
        at=BOOKED,
    )

    assert adjusted.second_waited
    assert (booked("chair"), booked("table")) == ((2, 0), (1, 0))


# -- acts -----------------------------------------------------------------------------------------------------------------

PRODUCTS = ("chair", "sofa", "table")


def an_order(*skus: str, **quantities: int) -> MakeReservation:
    """Asks for one each of the `skus`, in this order, or for these quantities."""
    return MakeReservation(
        reservation_id=uuid4(),
        revision=1,
        request=1,
        lines=tuple(lines(**dict.fromkeys(skus, 1), **quantities)),
        priority=0,
        placed_at=timezone.now(),
    )


def an_order_twice(sku: str, *quantities: int) -> MakeReservation:
    """As Sales asks for an order that names the product with each of these quantities."""
    return replace(an_order(sku), lines=checked_lines(each for quantity in quantities for each in lines(**{sku: quantity})))


def received(sku: str, bought_for: UUID | None = None) -> GoodsReceived:
    line = PeggedQuantity(product_id=product(sku), quantity=1, bought_for=bought_for)
    return GoodsReceived(purchase_order_id=uuid4(), receipt_id=uuid4(), lines=(line,), complete=True)


def taking(message: Message) -> Act:
    """Stock's consumer with this message in its hands, in a transaction of its own, but without the lock of the consumer."""
    with transaction.atomic():
        [stored] = publish([Outgoing(message=message)])

    def take_it() -> None:
        with transaction.atomic():
            take([Received(id=stored, message=message)])

    return take_it


def finding(**quantities: int) -> Act:
    found = lines(**quantities)  # the products are made now, by whoever asks
    return lambda: adjust_stock(
        [Adjustment(product_id=each.product_id, quantity=each.quantity, reason="found") for each in found], by="ann"
    )


def losing(**quantities: int) -> Act:
    lost = lines(**quantities)
    return lambda: adjust_stock(
        [Adjustment(product_id=each.product_id, quantity=-each.quantity, reason="lost") for each in lost], by="bob"
    )


def increase(how: str, sku: str, waiting: MakeReservation) -> Act:
    if how == "found":
        return finding(**{sku: 1})
    return taking(received(sku, bought_for=waiting.reservation_id if how == "bought for it" else None))


def releasing(order: MakeReservation) -> Act:
    return taking(ReleaseReservation(reservation_id=order.reservation_id))


def reversing(receipt: GoodsReceived, *, reversal: UUID | None = None) -> Act:
    """Takes back the one that arrived; under a new id, unless one is given."""
    [line] = receipt.lines
    mistake = Reversal(
        receipt_id=receipt.receipt_id, product_id=line.product_id, quantity=1, reason="miscounted", id=reversal or uuid4()
    )
    return lambda: reverse_receipt(mistake, by="bob")


# -- what is held by somebody else, so that two acts pile up behind it ----------------------------------------------------


def the_middle_balance() -> None:
    Balance.objects.select_for_update(no_key=True).get(product=_middle_product())


def a_new_middle_balance() -> None:
    Balance.objects.create(product_id=_middle_product())


def the_middle_reservation() -> None:
    _, middle, _ = sorted(Reservation.objects.values_list("id", flat=True))
    Reservation.objects.select_for_update(no_key=True).get(id=middle)


def _middle_product() -> UUID:
    return sorted(product(sku) for sku in PRODUCTS)[1]


def three_orders_wait_for(**quantities: int) -> None:
    for _ in range(3):
        taking(an_order(**quantities))()


# -- what is there in the end ---------------------------------------------------------------------------------------------


def balance(sku: str) -> Balance:
    return Balance.objects.get(product=product(sku))


def statuses(*orders: MakeReservation) -> list[str]:
    of = dict(Reservation.objects.values_list("id", "status"))
    return [of[order.reservation_id] for order in orders]


def held(sku: str) -> int:
    """What reservations believe they hold."""
    total: int = ReservationLine.objects.filter(product=product(sku)).aggregate(held=Sum("held"))["held"]
    return total


def booked(sku: str) -> tuple[int, int]:
    """On hand and reserved, by the ledger."""
    ledger = StockMovement.objects.filter(product=product(sku))
    sums = ledger.aggregate(on_hand=Sum("on_hand"), reserved=Sum("reserved"))
    return sums["on_hand"], sums["reserved"]
