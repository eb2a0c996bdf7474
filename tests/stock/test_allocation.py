"""The allocation rule, case by case."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from stock.allocation import Backorder, allocate, initial_reservation

CHAIR, DESK = UUID(int=101), UUID(int=102)
FIRST, SECOND, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
PLACED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def backorder(shortage: int, *, days_later: int = 0, priority: int = 0) -> Backorder:
    return Backorder(
        shortage=shortage, priority=priority, placed_at=PLACED_AT + timedelta(days=days_later)
    )


# -- available stock is reserved in the order of requests ----------------------------------------


def test_available_line_is_fully_reserved() -> None:
    assert initial_reservation({CHAIR: 3}, {CHAIR: 3}, allow_partial=False) == {CHAIR: 3}


def test_line_with_shortage_reserves_nothing_at_first() -> None:
    assert initial_reservation({CHAIR: 3}, {CHAIR: 2}, allow_partial=False) == {}


def test_each_line_is_reserved_independently() -> None:
    requested, available = {CHAIR: 3, DESK: 1}, {CHAIR: 2, DESK: 5}
    assert initial_reservation(requested, available, allow_partial=False) == {DESK: 1}


def test_allow_partial_reserves_what_is_available() -> None:
    requested, available = {CHAIR: 3, DESK: 1}, {CHAIR: 2}
    assert initial_reservation(requested, available, allow_partial=True) == {CHAIR: 2}


# -- stock that arrives is allocated to backorders -----------------------------------------------


def test_order_placed_earlier_is_allocated_first() -> None:
    backorders = {SECOND: backorder(2, days_later=1), FIRST: backorder(2)}
    assert allocate(3, backorders) == {FIRST: 2, SECOND: 1}


def test_priority_precedes_placement_time() -> None:
    backorders = {FIRST: backorder(2), SECOND: backorder(2, days_later=1, priority=5)}
    assert allocate(2, backorders) == {SECOND: 2}


def test_id_decides_between_equal_backorders() -> None:
    assert allocate(1, {SECOND: backorder(1), FIRST: backorder(1)}) == {FIRST: 1}


def test_small_backorder_does_not_overtake_large_one() -> None:
    assert allocate(5, {FIRST: backorder(10), SECOND: backorder(1, days_later=1)}) == {FIRST: 5}


def test_one_receipt_fills_several_backorders() -> None:
    backorders = {FIRST: backorder(5), SECOND: backorder(5), THIRD: backorder(5)}
    assert allocate(10, backorders) == {FIRST: 5, SECOND: 5}


def test_remainder_is_not_allocated() -> None:
    assert allocate(10, {FIRST: backorder(3)}) == {FIRST: 3}
    assert allocate(10, {}) == {}


# -- pegged quantities first ---------------------------------------------------------------------


def test_pegged_quantity_precedes_older_backorder() -> None:
    backorders = {FIRST: backorder(3), SECOND: backorder(3, days_later=1)}
    assert allocate(3, backorders, {SECOND: 3}) == {SECOND: 3}


def test_peg_is_limited_to_pegged_quantity() -> None:
    backorders = {FIRST: backorder(3), SECOND: backorder(3, days_later=1)}
    assert allocate(3, backorders, {SECOND: 1}) == {SECOND: 1, FIRST: 2}


def test_peg_to_reservation_without_shortage_goes_to_others() -> None:
    assert allocate(3, {FIRST: backorder(5)}, {SECOND: 3}) == {FIRST: 3}


def test_peg_above_shortage_goes_to_others() -> None:
    backorders = {FIRST: backorder(5), SECOND: backorder(1, days_later=1)}
    assert allocate(3, backorders, {SECOND: 3}) == {SECOND: 1, FIRST: 2}


def test_available_stock_is_allocated_beyond_the_peg() -> None:
    assert allocate(4, {FIRST: backorder(4)}, {FIRST: 3}) == {FIRST: 4}


def test_allocation_never_exceeds_available_or_shortage() -> None:
    backorders = {
        UUID(int=number): backorder(number, days_later=-number, priority=number % 3)
        for number in range(1, 20)
    }
    pegs = dict.fromkeys(list(backorders)[::2], 4)
    for available in range(60):
        allocated = allocate(available, backorders, pegs)
        assert sum(allocated.values()) == available
        assert all(
            0 < quantity <= backorders[reservation_id].shortage
            for reservation_id, quantity in allocated.items()
        )
