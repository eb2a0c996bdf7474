"""Purchase's own table: each status, and how goods fall on lines."""

from uuid import UUID

import pytest

from orderflow.refusals import Conflict
from purchase.receiving import (
    Act,
    MoreThanOrdered,
    NothingOutstanding,
    NotOnTheOrder,
    Outstanding,
    Status,
    after_reversal,
    decide,
    receive,
)

CHAIR, DESK = UUID(int=101), UUID(int=102)


def line(product: UUID, quantity: int, received: int = 0) -> Outstanding:
    return Outstanding(product_id=product, sku="CHAIR" if product == CHAIR else "DESK", quantity=quantity, received=received)


REFUSED = "refused"
OPEN, PARTIALLY, RECEIVED, SHORT, CANCELLED = Status
TABLE: dict[Act, dict[Status, Status | str]] = {
    Act.RECEIVE: {OPEN: PARTIALLY, PARTIALLY: PARTIALLY, RECEIVED: REFUSED, SHORT: REFUSED, CANCELLED: REFUSED},
    Act.CANCEL: {OPEN: CANCELLED, PARTIALLY: REFUSED, RECEIVED: REFUSED, SHORT: REFUSED, CANCELLED: CANCELLED},
    Act.GIVE_UP: {OPEN: CANCELLED, PARTIALLY: PARTIALLY, RECEIVED: RECEIVED, SHORT: SHORT, CANCELLED: CANCELLED},
    Act.CLOSE_SHORT: {OPEN: SHORT, PARTIALLY: SHORT, RECEIVED: REFUSED, SHORT: SHORT, CANCELLED: REFUSED},
}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("act", Act)
def test_every_cell_of_the_table(act: Act, status: Status) -> None:
    if TABLE[act][status] == REFUSED:
        with pytest.raises(Conflict, match="Purchase order P-1 "):
            decide(status, act, reference="P-1")
    else:
        assert decide(status, act, reference="P-1") == TABLE[act][status]


@pytest.mark.parametrize(
    ("act", "status", "cure"),
    [
        (Act.RECEIVE, RECEIVED, "is complete.*as a stock adjustment"),
        (Act.RECEIVE, CANCELLED, "was cancelled.*as a stock adjustment"),
        (Act.CANCEL, PARTIALLY, "a part of it has arrived. Close it short instead"),
    ],
)
def test_a_refusal_says_what_to_do_instead(act: Act, status: Status, cure: str) -> None:
    with pytest.raises(Conflict, match=cure):
        decide(status, act, reference="P-1")


def test_no_quantities_means_everything_that_is_still_to_come() -> None:
    lines = [line(CHAIR, 5, received=2), line(DESK, 1)]
    assert receive(Status.PARTIALLY_RECEIVED, lines, None, reference="P-1") == (Status.RECEIVED, [3, 1])


def test_a_part_leaves_the_rest_to_come() -> None:
    lines = [line(CHAIR, 5), line(DESK, 1)]
    assert receive(Status.OPEN, lines, {CHAIR: 2}, reference="P-1") == (Status.PARTIALLY_RECEIVED, [2, 0])


def test_the_last_part_completes_the_order() -> None:
    lines = [line(CHAIR, 5, received=3), line(DESK, 1, received=1)]
    assert receive(Status.PARTIALLY_RECEIVED, lines, {CHAIR: 2}, reference="P-1") == (Status.RECEIVED, [2, 0])


def test_goods_of_one_product_fill_its_lines_in_order() -> None:
    lines = [line(CHAIR, 2), line(CHAIR, 2), line(CHAIR, 2)]
    assert receive(Status.OPEN, lines, {CHAIR: 3}, reference="P-1") == (Status.PARTIALLY_RECEIVED, [2, 1, 0])


def test_it_rejects_more_than_was_ordered() -> None:
    with pytest.raises(MoreThanOrdered, match="only 3 × CHAIR are still to come, not 4"):
        receive(Status.OPEN, [line(CHAIR, 5, received=2)], {CHAIR: 4}, reference="P-1")


def test_it_rejects_what_was_not_ordered_at_all() -> None:
    with pytest.raises(NotOnTheOrder, match="P-1 has no line of"):
        receive(Status.OPEN, [line(CHAIR, 5)], {CHAIR: 1, DESK: 1}, reference="P-1")


def test_more_than_was_ordered_may_come_up_to_the_tolerance_of_each_line() -> None:
    lines = [line(CHAIR, 10, received=8), line(CHAIR, 5)]
    assert receive(PARTIALLY, lines, {CHAIR: 8}, reference="P-1", tolerance=20) == (RECEIVED, [3, 5])
    assert receive(PARTIALLY, lines, {CHAIR: 10}, reference="P-1", tolerance=20) == (RECEIVED, [4, 6])
    with pytest.raises(MoreThanOrdered, match=r"only 7 × CHAIR are still to come \(and 3 more are tolerated\), not 11"):
        receive(PARTIALLY, lines, {CHAIR: 11}, reference="P-1", tolerance=20)


def test_what_came_too_much_before_is_not_tolerated_again() -> None:
    lines = [line(CHAIR, 10, received=11), line(DESK, 1)]
    assert receive(PARTIALLY, lines, {CHAIR: 1}, reference="P-1", tolerance=20) == (PARTIALLY, [1, 0])
    with pytest.raises(MoreThanOrdered, match="only 0 × CHAIR are still to come"):
        receive(PARTIALLY, lines, {CHAIR: 2}, reference="P-1", tolerance=20)


def test_what_is_complete_takes_more_only_within_the_tolerance() -> None:
    complete = [line(CHAIR, 10, received=10)]
    assert receive(RECEIVED, complete, {CHAIR: 2}, reference="P-1", tolerance=20) == (RECEIVED, [2])
    with pytest.raises(MoreThanOrdered):
        receive(RECEIVED, complete, {CHAIR: 3}, reference="P-1", tolerance=20)
    for arrived, tolerance in (({CHAIR: 1}, 0), (None, 20)):
        with pytest.raises(NothingOutstanding):
            receive(RECEIVED, complete, arrived, reference="P-1", tolerance=tolerance)


def test_too_much_of_one_product_does_not_make_up_for_another() -> None:
    lines = [line(CHAIR, 10), line(DESK, 1)]
    assert receive(OPEN, lines, {CHAIR: 12}, reference="P-1", tolerance=20) == (PARTIALLY, [12, 0])


@pytest.mark.parametrize(
    ("before", "received", "after"),
    [
        (PARTIALLY, 4, PARTIALLY),
        (PARTIALLY, 0, OPEN),
        (RECEIVED, 6, RECEIVED),
        (RECEIVED, 5, RECEIVED),
        (RECEIVED, 4, SHORT),
        (RECEIVED, 0, SHORT),
        (SHORT, 0, SHORT),
    ],
)
def test_after_a_reversal_what_was_closed_stays_closed(before: Status, received: int, after: Status) -> None:
    assert after_reversal(before, [line(CHAIR, 5, received=received)]) == after
