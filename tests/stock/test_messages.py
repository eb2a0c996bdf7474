"""Stock as a consumer of messages: reservations, receipts, shipments, releases, changes."""

from uuid import uuid4

import pytest
from django.db import IntegrityError

from orderflow.messaging.models import QueuedMessage, StoredMessage
from stock.models import MovementType, Reservation, ReservationLine, StockLevel, StockMovement
from tests.conftest import add_stock, product
from tests.stock.helpers import (
    change,
    goods_received,
    handle,
    last_reply,
    level,
    release,
    replies,
    request,
    reserved_quantities,
    ship,
    shortages,
    status,
)

pytestmark = pytest.mark.django_db

each_batch_size = pytest.mark.parametrize(
    "batch_size", [None, 1], ids=["one batch", "one message at a time"]
)


def test_available_stock_is_reserved() -> None:
    add_stock(chair=5)
    handle(request(uuid4(), chair=3))
    assert replies() == ["ReservationAccepted"]
    assert level("chair") == (5, 3)


def test_rejection_names_shortages_and_reserves_full_lines() -> None:
    add_stock(chair=5, desk=1)
    order = uuid4()
    handle(request(order, chair=3, desk=2, lamp=1))
    assert shortages() == {product("desk"): 2, product("lamp"): 1}
    assert reserved_quantities(order) == {"chair": 3, "desk": 0, "lamp": 0}


def test_repeated_request_is_answered_with_its_number() -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(request(order, chair=3), request(order, request_number=2, chair=3))
    assert replies() == ["ReservationAccepted", "ReservationAccepted"]
    assert last_reply()["request_number"] == 2
    assert level("chair") == (5, 3)


def test_repeated_request_reserves_partially() -> None:
    add_stock(chair=2)
    order = uuid4()
    handle(request(order, chair=3))
    assert reserved_quantities(order) == {"chair": 0}
    handle(request(order, request_number=2, chair=3))
    assert reserved_quantities(order) == {"chair": 2}
    assert shortages() == {product("chair"): 1}


# -- receipts ------------------------------------------------------------------------------------


def test_receipt_is_allocated_to_every_backorder_it_reaches() -> None:
    older, newer, newest = uuid4(), uuid4(), uuid4()
    handle(
        request(newer, days_later=1, chair=5),
        request(older, chair=5),
        request(newest, days_later=2, chair=5),
    )
    handle(goods_received(chair=11))
    assert [reserved_quantities(each) for each in (older, newer, newest)] == [
        {"chair": 5},
        {"chair": 5},
        {"chair": 1},
    ]
    assert replies() == ["ReservationRejected"] * 3 + ["ReservationAccepted"] * 2
    assert level("chair") == (11, 11)


def test_receipts_of_one_batch_are_allocated_in_order() -> None:
    older, newer = uuid4(), uuid4()
    handle(request(older, chair=2), request(newer, days_later=1, chair=2))
    handle(
        goods_received(chair=1, pegged_to=newer),
        goods_received(chair=1, pegged_to=older),
        goods_received(chair=1),
    )
    assert reserved_quantities(older) == {"chair": 2}
    assert reserved_quantities(newer) == {"chair": 1}


def test_newer_request_does_not_overtake_backorder() -> None:
    backordered, newer = uuid4(), uuid4()
    handle(request(backordered, chair=2))
    handle(goods_received(chair=2, pegged_to=backordered), request(newer, days_later=1, chair=1))
    assert reserved_quantities(backordered) == {"chair": 2}
    assert reserved_quantities(newer) == {"chair": 0}


def test_receipt_pegged_to_unknown_reservation_is_allocated() -> None:
    order = uuid4()
    handle(request(order, chair=2))
    handle(goods_received(chair=2, pegged_to=uuid4()))
    assert reserved_quantities(order) == {"chair": 2}


def test_receipt_without_backorders_becomes_available() -> None:
    handle(goods_received(chair=2))
    assert level("chair") == (2, 0)


def test_request_receipt_and_shipment_fit_in_one_batch() -> None:
    order = uuid4()
    handle(request(order, chair=2), goods_received(chair=2, pegged_to=order), ship(order))
    assert level("chair") == (0, 0)


def test_repeated_receipt_is_recorded_once() -> None:
    received = goods_received(chair=2)
    handle(received)
    handle(received)
    assert level("chair") == (2, 0)


# -- shipments and the stock ledger --------------------------------------------------------------


def test_repeated_shipment_removes_goods_once() -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(request(order, chair=3), ship(order), ship(order))
    assert level("chair") == (2, 0)
    assert status(order) == "shipped"


def test_rejects_shipping_backordered_reservation() -> None:
    order = uuid4()
    handle(request(order, chair=3), ship(order))
    dead_letter = QueuedMessage.objects.dead_letters().get(consumer="stock")
    assert "cannot be shipped: its status is backordered" in dead_letter.last_error


def test_database_rejects_reserved_above_on_hand() -> None:
    add_stock(chair=5)
    with pytest.raises(IntegrityError, match="stock_level_reserved_lte_on_hand"):
        StockLevel.objects.update(reserved=6)


def test_ledger_records_every_change_of_stock_level() -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(request(order, chair=3), goods_received(chair=4), ship(order))
    movements = StockMovement.objects.order_by("id")
    assert list(movements.values_list("movement_type", "on_hand", "reserved")) == [
        (MovementType.ADJUSTED, 5, 0),
        (MovementType.RESERVED, 0, 3),
        (MovementType.RECEIVED, 4, 0),
        (MovementType.SHIPPED, -3, -3),
    ]
    assert level("chair") == (6, 0)


# -- releases ------------------------------------------------------------------------------------


@each_batch_size
def test_release_allocates_by_priority_then_time(batch_size: int | None) -> None:
    add_stock(chair=4)
    released, newer, older, urgent = (uuid4() for _ in range(4))
    handle(
        request(released, chair=4),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        request(urgent, days_later=3, priority=1, chair=1),
        release(released),
        batch_size=batch_size,
    )
    assert [reserved_quantities(each) for each in (released, urgent, older, newer)] == [
        {"chair": 0},
        {"chair": 1},
        {"chair": 2},
        {"chair": 1},
    ]
    assert [status(each) for each in (released, urgent, older, newer)] == [
        "released",
        "accepted",
        "accepted",
        "backordered",
    ]
    assert level("chair") == (4, 4)


@each_batch_size
def test_released_backorder_loses_stock_and_queue_position(batch_size: int | None) -> None:
    add_stock(chair=1)
    released, backordered = uuid4(), uuid4()
    handle(
        request(released, allow_partial=True, chair=2),
        request(backordered, days_later=1, chair=2),
        release(released),
        goods_received(chair=1, pegged_to=released),
        batch_size=batch_size,
    )
    assert reserved_quantities(released) == {"chair": 0}
    assert reserved_quantities(backordered) == {"chair": 2}
    assert replies() == ["ReservationRejected", "ReservationRejected", "ReservationAccepted"]
    assert level("chair") == (2, 2)


def test_release_of_first_backorder_lets_second_be_allocated() -> None:
    add_stock(chair=4)
    accepted, first, second = (uuid4() for _ in range(3))
    handle(
        request(accepted, chair=4),
        request(first, days_later=1, chair=4),
        request(second, days_later=2, chair=4),
    )
    handle(release(first), release(accepted))
    assert reserved_quantities(first) == {"chair": 0}
    assert (status(second), reserved_quantities(second)) == ("accepted", {"chair": 4})


def test_change_and_release_in_one_batch_allocate_to_backorders() -> None:
    # Fails if `_releasable` does not keep the changed lines for the release.
    add_stock(desk=4)
    released, backordered = uuid4(), uuid4()
    handle(request(released, chair=1), request(backordered, days_later=1, desk=5))
    handle(change(released, desk=4), release(released))
    assert reserved_quantities(backordered) == {"desk": 4}
    assert (status(released), level("desk")) == ("released", (4, 4))


def test_only_backorders_that_get_stock_are_allocated() -> None:
    urgent, older, newer, newest, of_desks = (uuid4() for _ in range(5))
    handle(
        request(newest, days_later=3, chair=2),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        request(urgent, days_later=9, priority=1, chair=2),
        request(of_desks, desk=2),
    )
    backordered = ReservationLine.objects.backordered()
    chair, desk = product("chair"), product("desk")
    assert set(backordered.reservation_ids_to_allocate({chair: 1})) == {urgent}
    assert set(backordered.reservation_ids_to_allocate({chair: 2})) == {urgent}
    assert set(backordered.reservation_ids_to_allocate({chair: 3, desk: 1})) == {
        urgent,
        older,
        of_desks,
    }
    assert set(backordered.reservation_ids_to_allocate({chair: 5})) == {urgent, older, newer}
    assert set(backordered.reservation_ids_to_allocate({chair: 10**12})) == {
        urgent,
        older,
        newer,
        newest,
    }


@each_batch_size
def test_release_without_backorders_is_recorded(batch_size: int | None) -> None:
    add_stock(chair=3)
    order = uuid4()
    handle(request(order, chair=2), release(order), batch_size=batch_size)
    assert level("chair") == (3, 0)
    movement = StockMovement.objects.latest("id")
    assert movement.movement_type == MovementType.RELEASED
    assert (movement.on_hand, movement.reserved) == (0, -2)
    assert movement.source_document_id == order
    assert movement.message_id == StoredMessage.objects.get(type="stock.ReleaseReservation").pk


@each_batch_size
def test_request_after_release_is_ignored(batch_size: int | None) -> None:
    add_stock(chair=3)
    order = uuid4()
    handle(release(order), request(order, chair=2), change(order, chair=1), batch_size=batch_size)
    assert (status(order), reserved_quantities(order), replies()) == ("released", {}, [])
    assert level("chair") == (3, 0)


@each_batch_size
def test_repeated_release_changes_nothing(batch_size: int | None) -> None:
    add_stock(chair=3)
    order, unknown = uuid4(), uuid4()
    handle(
        request(order, chair=2),
        release(order),
        release(order),
        release(unknown),
        release(unknown),
        batch_size=batch_size,
    )
    assert StockMovement.objects.filter(movement_type=MovementType.RELEASED).count() == 1
    assert level("chair") == (3, 0)
    assert not QueuedMessage.objects.filter(consumer="stock").exists()


@each_batch_size
def test_rejects_releasing_shipped_reservation(batch_size: int | None) -> None:
    add_stock(chair=3)
    order = uuid4()
    handle(request(order, chair=2), ship(order), release(order), batch_size=batch_size)
    dead_letter = QueuedMessage.objects.dead_letters().get(consumer="stock")
    assert "cannot be released: its status is shipped" in dead_letter.last_error
    assert (status(order), level("chair")) == ("shipped", (1, 0))


# -- changes -------------------------------------------------------------------------------------


@each_batch_size
def test_reduced_line_releases_surplus_to_backorders(batch_size: int | None) -> None:
    add_stock(chair=5)
    reduced, newer, older = (uuid4() for _ in range(3))
    handle(
        request(reduced, chair=5),
        request(newer, days_later=2, chair=2),
        request(older, days_later=1, chair=2),
        change(reduced, chair=2),
        batch_size=batch_size,
    )
    assert [reserved_quantities(each) for each in (reduced, older, newer)] == [
        {"chair": 2},
        {"chair": 2},
        {"chair": 1},
    ]
    assert [status(each) for each in (reduced, older, newer)] == [
        "accepted",
        "accepted",
        "backordered",
    ]
    assert level("chair") == (5, 5)


@each_batch_size
def test_reduced_reservation_is_accepted_again(batch_size: int | None) -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(request(order, chair=5), change(order, chair=2), batch_size=batch_size)
    accepted = StoredMessage.objects.filter(type="stock.ReservationAccepted").order_by("id")
    assert [(row.payload["revision"], row.payload["request_number"]) for row in accepted] == [
        (1, 1),
        (2, 2),
    ]


@each_batch_size
def test_increased_line_keeps_stock_and_reserves_available(batch_size: int | None) -> None:
    add_stock(chair=4)
    order = uuid4()
    handle(request(order, chair=3), change(order, chair=6), batch_size=batch_size)
    assert (status(order), reserved_quantities(order)) == ("backordered", {"chair": 4})
    assert shortages() == {product("chair"): 2}
    assert (last_reply()["revision"], last_reply()["request_number"]) == (2, 2)
    assert level("chair") == (4, 4)


@each_batch_size
def test_change_of_products_drops_and_adds_lines(batch_size: int | None) -> None:
    add_stock(chair=2, desk=1, lamp=1)
    order, backordered = uuid4(), uuid4()
    handle(
        request(order, chair=2, desk=1),
        request(backordered, days_later=1, chair=1),
        change(order, desk=1, lamp=1),
        batch_size=batch_size,
    )
    assert reserved_quantities(order) == {"desk": 1, "lamp": 1}
    assert (status(order), status(backordered)) == ("accepted", "accepted")
    assert [level(sku) for sku in ("chair", "desk", "lamp")] == [(2, 1), (1, 1), (1, 1)]


@each_batch_size
def test_dropped_product_added_again_has_one_line(batch_size: int | None) -> None:
    add_stock(chair=2)
    order = uuid4()
    handle(
        request(order, chair=1),
        change(order, revision=2, desk=1),
        change(order, revision=3, chair=2),
        batch_size=batch_size,
    )
    assert (status(order), reserved_quantities(order)) == ("accepted", {"chair": 2})
    assert (level("chair"), level("desk")) == ((2, 2), (0, 0))


@each_batch_size
def test_peg_above_reduced_line_goes_to_backorders(batch_size: int | None) -> None:
    reduced, backordered = uuid4(), uuid4()
    handle(
        request(reduced, chair=3),
        request(backordered, days_later=1, chair=2),
        change(reduced, chair=1),
        goods_received(chair=3, pegged_to=reduced),
        batch_size=batch_size,
    )
    assert reserved_quantities(reduced) == {"chair": 1}
    assert reserved_quantities(backordered) == {"chair": 2}
    assert (status(reduced), status(backordered)) == ("accepted", "accepted")


@each_batch_size
def test_backorder_reduced_to_reserved_quantity_is_accepted(batch_size: int | None) -> None:
    add_stock(chair=1)
    order = uuid4()
    handle(
        request(order, allow_partial=True, chair=3),
        change(order, chair=1),
        batch_size=batch_size,
    )
    assert replies() == ["ReservationRejected", "ReservationAccepted"]
    assert level("chair") == (1, 1)


@each_batch_size
def test_request_of_older_revision_is_ignored(batch_size: int | None) -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(change(order, chair=2), request(order, chair=5), batch_size=batch_size)
    assert (reserved_quantities(order), replies()) == ({"chair": 2}, ["ReservationAccepted"])
    assert Reservation.objects.get().revision == 2


@each_batch_size
def test_change_of_shipped_reservation_is_ignored(batch_size: int | None) -> None:
    add_stock(chair=5)
    order = uuid4()
    handle(request(order, chair=2), ship(order), change(order, chair=4), batch_size=batch_size)
    assert (status(order), reserved_quantities(order)) == ("shipped", {"chair": 2})
    assert level("chair") == (3, 0)
