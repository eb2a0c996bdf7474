"""Purchase's own table: each status, and how goods fall on lines."""

from uuid import UUID

import pytest

from purchase.receiving import MAY_RECEIVE, MoreThanOrdered, NothingOutstanding, NotOnTheOrder, Outstanding, Status, receive

CHAIR, DESK = UUID(int=101), UUID(int=102)


def line(product: UUID, quantity: int, received: int = 0) -> Outstanding:
    return Outstanding(product_id=product, sku="CHAIR" if product == CHAIR else "DESK", quantity=quantity, received=received)


@pytest.mark.parametrize("status", Status)
def test_every_status_says_whether_goods_may_be_received(status: Status) -> None:
    if MAY_RECEIVE[status]:
        assert receive(status, [line(CHAIR, 2)], None, reference="P-1") == (Status.RECEIVED, [2])
    else:
        assert status == Status.RECEIVED
        with pytest.raises(NothingOutstanding, match="P-1 is complete"):
            receive(status, [line(CHAIR, 2, received=2)], None, reference="P-1")


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
