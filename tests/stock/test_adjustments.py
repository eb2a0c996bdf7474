from uuid import uuid4

import pytest

from stock.services import (
    Adjustment,
    AdjustmentAlreadyExists,
    AdjustmentOutOfRange,
    InsufficientStock,
    adjust_stock,
)
from tests.conftest import add_stock, product
from tests.stock.helpers import adjustment, handle, level, replies, request

pytestmark = pytest.mark.django_db


def test_positive_adjustment_allocates_to_backorders() -> None:
    handle(request(uuid4(), chair=3))
    add_stock(chair=3)
    assert replies()[-1] == "ReservationAccepted"


def test_repeated_adjustment_is_recorded_once() -> None:
    counted = adjustment("chair", 3)
    assert adjust_stock([counted], actor="Ada") == [counted.id]
    assert adjust_stock([counted], actor="Ada") == []
    assert level("chair") == (3, 0)


def test_adjustment_repeated_in_one_call_is_recorded_once() -> None:
    counted = adjustment("chair", 3)
    assert adjust_stock([counted, counted], actor="Ada") == [counted.id]
    assert level("chair") == (3, 0)


def test_rejects_other_adjustment_with_existing_id() -> None:
    counted = adjustment("chair", 3)
    adjust_stock([counted], actor="Ada")
    other = Adjustment(
        id=counted.id, product_id=product("chair"), quantity=4, reason=counted.reason
    )
    with pytest.raises(AdjustmentAlreadyExists):
        adjust_stock([other], actor="Ada")


def test_rejects_removing_reserved_stock() -> None:
    add_stock(chair=5)
    handle(request(uuid4(), chair=3))
    with pytest.raises(InsufficientStock, match="5 on hand, 3 reserved, 2 available"):
        add_stock(chair=-3)
    add_stock(chair=-2)
    assert level("chair") == (3, 3)


@pytest.mark.parametrize("quantity", [0, 1_000_000_001, -1_000_000_001])
def test_rejects_adjustment_out_of_range(quantity: int) -> None:
    with pytest.raises(AdjustmentOutOfRange, match="from -1,000,000,000 to 1,000,000,000"):
        add_stock(chair=quantity)
