"""Concurrent changes of stock levels and reservations.

One process at a time drains Stock, and users adjust stock at the same time. Some tests run two
handlers at once, without the lock of the consumer: the row locks must be enough.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, OperationalError
from django.db.models import F, Sum
from django.utils import timezone

from orderflow.core.quantities import validate_lines
from purchase.contract import GoodsReceived, PeggedQuantity, ReverseReceipt
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ReservationRejected,
)
from stock.models import (
    Reservation,
    ReservationLine,
    ReservationQuerySet,
    StockLevel,
    StockLevelQuerySet,
    StockMovement,
)
from stock.services import (
    Adjustment,
    AdjustmentAlreadyExists,
    InsufficientStock,
    QuantityExceedsReceived,
    Reversal,
    adjust_stock,
    handle_messages,
    ledger,
    reverse_receipt,
    work,
)
from tests.concurrency.helpers import handled_by, published_count
from tests.concurrency.threads import (
    Call,
    lock_in_opposite_orders,
    meet,
    rejected,
    run_behind_lock,
    without_locks,
)
from tests.conftest import add_stock, lines, product

pytestmark = [pytest.mark.postgresql_only, pytest.mark.django_db(transaction=True)]

SAVING = (work.Work, "save")  # everything is locked and decided, nothing is written
WRITTEN = (work, "publish")  # everything is written, nothing is committed
PRODUCTS = ("chair", "sofa", "table")

each_increase = pytest.mark.parametrize("increase", ["adjustment", "receipt", "pegged receipt"])
each_sequence = pytest.mark.parametrize("release_first", [True, False])


# -- calls ---------------------------------------------------------------------------------------


def request(*skus: str, **quantities: int) -> MakeReservation:
    """Return a reservation request of 1 of each of `skus` in this order, or of quantities."""
    return MakeReservation(
        reservation_id=uuid4(),
        revision=1,
        request_number=1,
        lines=tuple(lines(**dict.fromkeys(skus, 1), **quantities)),
        priority=0,
        placed_at=timezone.now(),
    )


def handling(message: MakeReservation | ReleaseReservation | GoodsReceived) -> Call:
    return handled_by(handle_messages, message)


def reserving(*skus: str, **quantities: int) -> Call:
    return handling(request(*skus, **quantities))


def handle(*messages: MakeReservation | GoodsReceived) -> None:
    for message in messages:
        handling(message)()


def backorder_three_times(**quantities: int) -> None:
    handle(*(request(**quantities) for _ in range(3)))


def receipt(sku: str, *, pegged_to: UUID | None = None) -> GoodsReceived:
    """Return a final receipt of 1 unit."""
    line = PeggedQuantity(product_id=product(sku), quantity=1, pegged_to=pegged_to)
    return GoodsReceived(purchase_order_id=uuid4(), receipt_id=uuid4(), lines=(line,), final=True)


def handled_receipt(sku: str) -> GoodsReceived:
    message = receipt(sku)
    handle(message)
    return message


def adding(**quantities: int) -> Call:
    adjustments = [
        Adjustment(product_id=line.product_id, quantity=line.quantity, reason="found")
        for line in lines(**quantities)
    ]
    return lambda: adjust_stock(adjustments, actor="ann")


def removing(**quantities: int) -> Call:
    adjustments = [
        Adjustment(product_id=line.product_id, quantity=-line.quantity, reason="lost")
        for line in lines(**quantities)
    ]
    return lambda: adjust_stock(adjustments, actor="bob")


def increasing(increase: str, sku: str, backordered: MakeReservation) -> Call:
    if increase == "adjustment":
        return adding(**{sku: 1})
    pegged = increase == "pegged receipt"
    return handling(receipt(sku, pegged_to=backordered.reservation_id if pegged else None))


def releasing(reserved: MakeReservation) -> Call:
    return handling(ReleaseReservation(reservation_id=reserved.reservation_id))


def reversing(received: GoodsReceived, *, reversal_id: UUID | None = None) -> Call:
    """Reverse 1 unit of the receipt, by default with a new id."""
    [line] = received.lines
    reversal = Reversal(
        receipt_id=received.receipt_id,
        product_id=line.product_id,
        quantity=1,
        reason="miscounted",
        id=reversal_id or uuid4(),
    )
    return lambda: reverse_receipt(reversal, actor="bob")


# -- locks ---------------------------------------------------------------------------------------


def lock_middle_stock_level() -> None:
    StockLevel.objects.select_for_update(no_key=True).get(product=middle_product())


def insert_middle_stock_level() -> None:
    StockLevel.objects.create(product_id=middle_product())


def lock_middle_reservation() -> None:
    _, middle, _ = sorted(Reservation.objects.values_list("id", flat=True))
    Reservation.objects.select_for_update(no_key=True).get(id=middle)


def middle_product() -> UUID:
    return sorted(product(sku) for sku in PRODUCTS)[1]


# -- results -------------------------------------------------------------------------------------


def level(sku: str) -> tuple[int, int]:
    """Return on hand and reserved."""
    row = StockLevel.objects.get(product=product(sku))
    return row.on_hand, row.reserved


def ledger_totals(sku: str) -> tuple[int, int]:
    """Return on hand and reserved, by the stock ledger."""
    rows = StockMovement.objects.filter(product=product(sku))
    totals = rows.aggregate(on_hand=Sum("on_hand"), reserved=Sum("reserved"))
    return totals["on_hand"], totals["reserved"]


def reserved_by_reservations(sku: str) -> int:
    rows = ReservationLine.objects.filter(product=product(sku))
    total: int = rows.aggregate(total=Sum("reserved"))["total"]
    return total


def statuses(*requests: MakeReservation) -> list[str]:
    by_id = dict(Reservation.objects.values_list("id", "status"))
    return [by_id[each.reservation_id] for each in requests]


def shortages(request: MakeReservation) -> list[ReservationLine]:
    rows = ReservationLine.objects.filter(reservation=request.reservation_id)
    return list(rows.filter(reserved__lt=F("quantity")))


# -- the last unit -------------------------------------------------------------------------------


def test_last_unit_is_reserved_once() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_oversells_last_unit.
    add_stock(chair=1)

    meeting = meet(reserving(chair=1), reserving(chair=1), at=SAVING)

    assert meeting.second_waited
    assert (published_count(ReservationAccepted), published_count(ReservationRejected)) == (1, 1)
    assert level("chair") == (1, 1)
    assert reserved_by_reservations("chair") == 1


def test_missing_lock_oversells_last_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stock(chair=1)
    without_locks(monkeypatch, StockLevelQuerySet)

    meeting = meet(reserving(chair=1), reserving(chair=1), at=SAVING)

    assert not meeting.second_waited
    assert published_count(ReservationAccepted) == 2
    assert reserved_by_reservations("chair") == 2
    # Each wrote the quantity that it computed, so no constraint is violated.
    assert level("chair") == (1, 1)


def test_repeated_product_is_reserved_whole_for_one_order() -> None:
    # Fails if the quantities of one product are not added: see
    # test_separate_lines_of_one_product_are_accepted_despite_shortage.
    add_stock(chair=3)
    added = validate_lines([*lines(chair=2), *lines(chair=1)])
    requests = [replace(request("chair"), lines=added) for _ in range(2)]

    meeting = meet(*map(handling, requests), at=SAVING)

    assert meeting.second_waited
    assert (published_count(ReservationAccepted), published_count(ReservationRejected)) == (1, 1)
    assert level("chair") == (3, 3)
    assert reserved_by_reservations("chair") == 3


def test_separate_lines_of_one_product_are_accepted_despite_shortage() -> None:
    add_stock(chair=3)
    separate = (*lines(chair=2), *lines(chair=1))
    requests = [replace(request("chair"), lines=separate) for _ in range(2)]

    meet(*map(handling, requests), at=SAVING)

    assert published_count(ReservationAccepted) == 2
    assert reserved_by_reservations("chair") == 2  # of 6


# -- lock order ----------------------------------------------------------------------------------


def test_requests_in_opposite_order_do_not_deadlock() -> None:
    # Fails if stock levels are locked in different orders: see
    # test_opposite_lock_order_of_stock_levels_deadlocks.
    add_stock(chair=2, sofa=2, table=2)

    run_behind_lock(
        reserving(*PRODUCTS), reserving(*reversed(PRODUCTS)), lock=lock_middle_stock_level
    )

    assert published_count(ReservationAccepted) == 2


def test_opposite_lock_order_of_stock_levels_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stock(chair=2, sofa=2, table=2)
    lock_in_opposite_orders(monkeypatch, StockLevelQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        run_behind_lock(
            reserving(*PRODUCTS), reserving(*reversed(PRODUCTS)), lock=lock_middle_stock_level
        )


def test_requests_of_new_products_do_not_deadlock() -> None:
    # Fails if stock levels are inserted in different orders: see
    # test_opposite_insert_order_of_stock_levels_deadlocks.
    run_behind_lock(
        reserving(*PRODUCTS), reserving(*reversed(PRODUCTS)), lock=insert_middle_stock_level
    )

    assert published_count(ReservationRejected) == 2
    assert StockLevel.objects.count() == len(PRODUCTS)


def test_opposite_insert_order_of_stock_levels_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    descending = iter([False, True])

    def sort(rows: Sequence[Any]) -> list[Any]:
        return sorted(rows, reverse=next(descending))

    monkeypatch.setattr(ledger, "sorted", sort, raising=False)

    with pytest.raises(OperationalError, match="deadlock detected"):
        run_behind_lock(
            reserving(*PRODUCTS), reserving(*reversed(PRODUCTS)), lock=insert_middle_stock_level
        )


def test_increases_for_same_backorders_do_not_deadlock() -> None:
    # Fails if reservations are locked in different orders: see
    # test_opposite_lock_order_of_reservations_deadlocks.
    backorder_three_times(chair=1, table=1)

    run_behind_lock(adding(chair=3), adding(table=3), lock=lock_middle_reservation)

    assert published_count(ReservationAccepted) == 3


def test_opposite_lock_order_of_reservations_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    backorder_three_times(chair=1, table=1)
    lock_in_opposite_orders(monkeypatch, ReservationQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        run_behind_lock(adding(chair=3), adding(table=3), lock=lock_middle_reservation)


# -- increases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["adjustment", "receipt", "pegged receipt"])
@pytest.mark.parametrize("second", ["adjustment", "receipt", "pegged receipt"])
def test_concurrent_increases_accept_reservation_once(first: str, second: str) -> None:
    # Fails without the lock of the reservation: see
    # test_missing_reservation_lock_accepts_no_reservation. Fails also if lines are read before
    # that lock is held.
    backordered = request("chair", "table")
    handle(backordered)

    meeting = meet(
        increasing(first, "chair", backordered),
        increasing(second, "table", backordered),
        at=SAVING,
    )

    assert meeting.second_waited
    assert statuses(backordered) == ["accepted"]
    assert published_count(ReservationAccepted) == 1


def test_missing_reservation_lock_accepts_no_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    backordered = request("chair", "table")
    handle(backordered)
    without_locks(monkeypatch, ReservationQuerySet)

    meeting = meet(adding(chair=1), adding(table=1), at=SAVING)

    assert not meeting.second_waited
    assert shortages(backordered) == []
    assert published_count(ReservationAccepted) == 0


# -- negative adjustments ------------------------------------------------------------------------


def test_rejects_removal_of_stock_during_reservation() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_reserves_removed_stock.
    add_stock(chair=1)

    meeting = meet(reserving(chair=1), rejected(InsufficientStock, removing(chair=1)), at=SAVING)

    assert meeting.second_waited
    assert level("chair") == ledger_totals("chair") == (1, 1)


def test_reservation_during_removal_is_backordered() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_reserves_removed_stock.
    add_stock(chair=1)

    meeting = meet(removing(chair=1), reserving(chair=1), at=SAVING)

    assert meeting.second_waited
    assert published_count(ReservationRejected) == 1
    assert level("chair") == ledger_totals("chair") == (0, 0)


@pytest.mark.parametrize("reservation_first", [True, False])
def test_missing_lock_reserves_removed_stock(
    monkeypatch: pytest.MonkeyPatch, reservation_first: bool
) -> None:
    add_stock(chair=1)
    calls = [reserving(chair=1), removing(chair=1)]
    without_locks(monkeypatch, StockLevelQuerySet)

    meet(*(calls if reservation_first else calls[::-1]), at=SAVING)

    # 1 is reserved and 0 are on hand; the stock level shows only the last write.
    assert ledger_totals("chair") == (0, 1)


# -- releases ------------------------------------------------------------------------------------


@each_sequence
@each_increase
def test_release_and_increase_allocate_to_all_backorders(
    increase: str, release_first: bool
) -> None:
    # Fails without the lock of the stock level: see test_missing_locks_leave_backorder_unfilled.
    add_stock(chair=1)
    reserved, backordered, newer = (request(chair=1) for _ in range(3))
    handle(reserved, backordered, newer)
    calls = [releasing(reserved), increasing(increase, "chair", backordered)]

    meeting = meet(*(calls if release_first else calls[::-1]), at=SAVING)

    assert meeting.second_waited
    assert statuses(reserved, backordered, newer) == ["released", "accepted", "accepted"]
    assert published_count(ReservationAccepted) == 3
    assert level("chair") == ledger_totals("chair") == (2, 2)


@each_sequence
def test_missing_locks_leave_backorder_unfilled(
    monkeypatch: pytest.MonkeyPatch, release_first: bool
) -> None:
    add_stock(chair=1)
    reserved, backordered, newer = (request(chair=1) for _ in range(3))
    handle(reserved, backordered, newer)
    calls = [releasing(reserved), adding(chair=1)]
    without_locks(monkeypatch, StockLevelQuerySet)
    without_locks(monkeypatch, ReservationQuerySet)

    meeting = meet(*(calls if release_first else calls[::-1]), at=SAVING)

    assert not meeting.second_waited
    assert "backordered" in statuses(backordered, newer)


@each_sequence
@each_increase
def test_release_and_increase_of_two_products_accept_reservation(
    increase: str, release_first: bool
) -> None:
    # Fails without the lock of the reservation: see
    # test_missing_reservation_lock_leaves_full_reservation_backordered.
    add_stock(chair=1)
    reserved, backordered = request(chair=1), request("chair", "table")
    handle(reserved, backordered)
    calls = [releasing(reserved), increasing(increase, "table", backordered)]

    meeting = meet(*(calls if release_first else calls[::-1]), at=SAVING)

    assert meeting.second_waited
    assert statuses(reserved, backordered) == ["released", "accepted"]
    assert published_count(ReservationAccepted) == 2
    assert (ledger_totals("chair"), ledger_totals("table")) == ((1, 1), (1, 1))


def test_missing_reservation_lock_leaves_full_reservation_backordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_stock(chair=1)
    reserved, backordered = request(chair=1), request("chair", "table")
    handle(reserved, backordered)
    release = releasing(reserved)
    without_locks(monkeypatch, ReservationQuerySet)

    meeting = meet(release, adding(table=1), at=SAVING)

    assert not meeting.second_waited
    assert statuses(backordered) == ["backordered"]
    assert shortages(backordered) == []


@pytest.mark.parametrize("chair_first", [True, False])
def test_concurrent_releases_accept_reservation_once(chair_first: bool) -> None:
    # Fails without the lock of the reservation: neither release accepts it.
    add_stock(chair=1, table=1)
    chair, table, backordered = request(chair=1), request(table=1), request("chair", "table")
    handle(chair, table, backordered)
    calls = [releasing(chair), releasing(table)]

    meeting = meet(*(calls if chair_first else calls[::-1]), at=SAVING)

    assert meeting.second_waited
    assert statuses(backordered) == ["accepted"]
    assert published_count(ReservationAccepted) == 3


def test_reduced_line_and_increase_allocate_to_all_backorders() -> None:
    # Fails without the lock of the stock level: one backorder is left unfilled.
    add_stock(chair=2)
    reduced, backordered, newer = request(chair=2), request(chair=1), request(chair=1)
    handle(reduced, backordered, newer)
    reduction = replace(reduced, revision=2, request_number=2, lines=tuple(lines(chair=1)))

    meeting = meet(handling(reduction), adding(chair=1), at=SAVING)

    assert meeting.second_waited
    assert statuses(reduced, backordered, newer) == ["accepted"] * 3
    assert level("chair") == ledger_totals("chair") == (3, 3)


def test_stock_released_without_backorders_can_be_removed() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_allocates_removed_stock.
    add_stock(chair=1)
    reserved = request(chair=1)
    handle(reserved)

    meeting = meet(releasing(reserved), removing(chair=1), at=SAVING)

    assert meeting.second_waited
    assert level("chair") == ledger_totals("chair") == (0, 0)


def test_rejects_removal_of_stock_during_release_to_backorder() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_allocates_removed_stock.
    reserved, backordered = reservation_and_larger_backorder()

    meeting = meet(releasing(reserved), rejected(InsufficientStock, removing(chair=1)), at=SAVING)

    assert meeting.second_waited
    assert statuses(reserved, backordered) == ["released", "accepted"]
    assert level("chair") == ledger_totals("chair") == (2, 2)


def test_missing_lock_allocates_removed_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved, _ = reservation_and_larger_backorder()
    release = releasing(reserved)
    without_locks(monkeypatch, StockLevelQuerySet)

    meet(release, removing(chair=1), at=SAVING)

    # 2 are reserved and 1 is on hand; the stock level shows only the last write.
    assert ledger_totals("chair") == (1, 2)


def reservation_and_larger_backorder() -> tuple[MakeReservation, MakeReservation]:
    """Reserve 1 of 2 chairs, and backorder 2: 1 is available until the other is released."""
    add_stock(chair=2)
    reserved, backordered = request(chair=1), request(chair=2)
    handle(reserved, backordered)
    return reserved, backordered


# -- receipt reversals ---------------------------------------------------------------------------


def test_rejects_reversal_during_reservation() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_reserves_reversed_stock.
    received = handled_receipt("chair")

    meeting = meet(reserving(chair=1), rejected(InsufficientStock, reversing(received)), at=SAVING)

    assert meeting.second_waited
    assert published_count(ReverseReceipt) == 0
    assert level("chair") == ledger_totals("chair") == (1, 1)


def test_reservation_during_reversal_is_backordered() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_reserves_reversed_stock.
    received = handled_receipt("chair")

    meeting = meet(reversing(received), reserving(chair=1), at=SAVING)

    assert meeting.second_waited
    assert (published_count(ReverseReceipt), published_count(ReservationRejected)) == (1, 1)
    assert level("chair") == ledger_totals("chair") == (0, 0)


@pytest.mark.parametrize("reservation_first", [True, False])
def test_missing_lock_reserves_reversed_stock(
    monkeypatch: pytest.MonkeyPatch, reservation_first: bool
) -> None:
    received = handled_receipt("chair")
    calls = [reserving(chair=1), reversing(received)]
    without_locks(monkeypatch, StockLevelQuerySet)

    meet(*(calls if reservation_first else calls[::-1]), at=SAVING)

    assert ledger_totals("chair") == (0, 1)


def test_rejects_concurrent_reversal_above_received_quantity() -> None:
    # Fails without the lock of the stock level: see test_missing_lock_reverses_more_than_received.
    add_stock(chair=1)  # so that the stock is sufficient for both reversals
    received = handled_receipt("chair")

    meeting = meet(
        reversing(received), rejected(QuantityExceedsReceived, reversing(received)), at=SAVING
    )

    assert meeting.second_waited
    assert published_count(ReverseReceipt) == 1
    assert ledger_totals("chair") == (1, 0)


def test_missing_lock_reverses_more_than_received(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stock(chair=1)
    received = handled_receipt("chair")
    without_locks(monkeypatch, StockLevelQuerySet)

    meet(reversing(received), reversing(received), at=SAVING)

    assert published_count(ReverseReceipt) == 2
    assert ledger_totals("chair") == (0, 0)


# -- repetitions ---------------------------------------------------------------------------------


def test_repeated_reversal_is_recorded_once() -> None:
    # Fails if recorded reversals are read before the stock level is locked, and the service is not
    # repeated after a unique violation.
    received = handled_receipt("chair")
    report = reversing(received, reversal_id=uuid4())

    meeting = meet(report, report, at=SAVING)

    assert meeting.second_waited
    assert published_count(ReverseReceipt) == 1
    assert ledger_totals("chair") == (0, 0)


def test_repeated_receipt_is_recorded_once() -> None:
    # Fails without the lock of the stock level: see
    # test_constraint_rejects_repeated_receipt_without_lock. Fails also if recorded receipts are
    # read before that lock is held.
    add_stock(chair=1)
    received = receipt("chair")

    meeting = meet(handling(received), handling(received), at=SAVING)

    assert meeting.second_waited
    assert ledger_totals("chair") == (2, 0)


def test_constraint_rejects_repeated_receipt_without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stock(chair=1)
    received = receipt("chair")
    without_locks(monkeypatch, StockLevelQuerySet)

    with pytest.raises(IntegrityError, match="stock_movement_unique_receipt_product"):
        meet(handling(received), handling(received), at=SAVING)

    assert ledger_totals("chair") == (2, 0)


def test_repeated_adjustment_is_recorded_once() -> None:
    # Fails if recorded adjustments are read before the stock level is locked: the second call
    # raises IntegrityError.
    add_stock(chair=1)
    adjustment = Adjustment(product_id=product("chair"), quantity=1, reason="found")

    def report() -> list[UUID]:
        return adjust_stock([adjustment], actor="ann")

    meeting = meet(report, report, at=SAVING)

    assert meeting.second_waited
    assert (meeting.first, meeting.second) == ([adjustment.id], [])
    assert ledger_totals("chair") == (2, 0)


def test_rejects_id_of_concurrent_adjustment() -> None:
    # Fails without `retry_on_unique_violation`: the second call raises IntegrityError.
    add_stock(chair=1, table=1)
    adjustment = Adjustment(product_id=product("chair"), quantity=1, reason="found")
    other = replace(adjustment, product_id=product("table"))

    meeting = meet(
        lambda: adjust_stock([adjustment], actor="ann"),
        rejected(AdjustmentAlreadyExists, lambda: adjust_stock([other], actor="bob")),
        at=WRITTEN,
    )

    assert meeting.second_waited
    assert (ledger_totals("chair"), ledger_totals("table")) == ((2, 0), (1, 0))
