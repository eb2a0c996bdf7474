"""Stock's rule, sentence by sentence."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from stock.allocation import Wait, allocate, first_promise

CHAIR, DESK = UUID(int=101), UUID(int=102)
FIRST, SECOND, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def wait(missing: int, *, days_later: int = 0, priority: int = 0) -> Wait:
    return Wait(missing=missing, priority=priority, placed_at=LONG_AGO + timedelta(days=days_later))


# -- what lies on the shelf is first come, first served -------------------------------------------------------------------


def test_a_line_that_is_there_whole_is_promised_whole() -> None:
    assert first_promise({CHAIR: 3}, {CHAIR: 3}, hold_parts=False) == {CHAIR: 3}


def test_a_line_that_is_not_there_whole_gets_nothing_at_first() -> None:
    assert first_promise({CHAIR: 3}, {CHAIR: 2}, hold_parts=False) == {}


def test_each_line_is_decided_by_itself() -> None:
    assert first_promise({CHAIR: 3, DESK: 1}, {CHAIR: 2, DESK: 5}, hold_parts=False) == {DESK: 1}


def test_with_hold_parts_a_line_gets_what_is_there() -> None:
    assert first_promise({CHAIR: 3, DESK: 1}, {CHAIR: 2}, hold_parts=True) == {CHAIR: 2}


# -- what arrives goes to those who wait ----------------------------------------------------------------------------------


def test_who_placed_the_order_earlier_is_served_first() -> None:
    assert allocate(3, {SECOND: wait(2, days_later=1), FIRST: wait(2)}) == {FIRST: 2, SECOND: 1}


def test_priority_comes_before_the_time_of_the_order() -> None:
    assert allocate(2, {FIRST: wait(2), SECOND: wait(2, days_later=1, priority=5)}) == {SECOND: 2}


def test_a_tie_is_broken_by_the_id() -> None:
    assert allocate(1, {SECOND: wait(1), FIRST: wait(1)}) == {FIRST: 1}


def test_a_big_order_at_the_head_is_not_overtaken_by_small_ones() -> None:
    assert allocate(5, {FIRST: wait(10), SECOND: wait(1, days_later=1)}) == {FIRST: 5}


def test_one_receipt_serves_as_many_as_it_can() -> None:
    assert allocate(10, {FIRST: wait(5), SECOND: wait(5), THIRD: wait(5)}) == {FIRST: 5, SECOND: 5}


def test_what_is_left_lies_on_the_shelf() -> None:
    assert allocate(10, {FIRST: wait(3)}) == {FIRST: 3}
    assert allocate(10, {}) == {}


# -- first to the reservation it was bought for, up to the peg ------------------------------------------------------------


def test_pegged_goods_go_to_their_own_although_an_older_one_waits() -> None:
    assert allocate(3, {FIRST: wait(3), SECOND: wait(3, days_later=1)}, {SECOND: 3}) == {SECOND: 3}


def test_a_peg_reaches_no_further_than_the_peg() -> None:
    assert allocate(3, {FIRST: wait(3), SECOND: wait(3, days_later=1)}, {SECOND: 1}) == {SECOND: 1, FIRST: 2}


def test_what_is_pegged_to_somebody_who_no_longer_lacks_it_serves_the_others() -> None:
    assert allocate(3, {FIRST: wait(5)}, {SECOND: 3}) == {FIRST: 3}


def test_more_may_be_pegged_than_is_lacked() -> None:
    assert allocate(3, {FIRST: wait(5), SECOND: wait(1, days_later=1)}, {SECOND: 3}) == {SECOND: 1, FIRST: 2}


def test_what_lay_on_the_shelf_already_is_dealt_out_with_it() -> None:
    assert allocate(4, {FIRST: wait(4)}, {FIRST: 3}) == {FIRST: 4}


def test_nothing_is_dealt_out_twice() -> None:
    waits = {UUID(int=number): wait(number, days_later=-number, priority=number % 3) for number in range(1, 20)}
    pegs = dict.fromkeys(list(waits)[::2], 4)
    for available in range(60):
        grants = allocate(available, waits, pegs)
        assert sum(grants.values()) == available
        assert all(0 < quantity <= waits[reservation].missing for reservation, quantity in grants.items())
