"""The table of statuses, and how a receipt is distributed over the lines of a purchase order."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from orderflow.core.errors import ConflictError
from purchase.lifecycle import (
    OrderedLine,
    ProductNotOrdered,
    PurchaseOrderAction,
    PurchaseOrderCannotBeReceived,
    QuantityExceedsOrdered,
    Status,
    decide,
    distribute_receipt,
    status_after_reversal,
)

CHAIR, DESK = UUID(int=101), UUID(int=102)
OPEN, PARTIAL, RECEIVED, SHORT, CANCELLED = Status

# The status after each action, one column for each status before it; None: rejected.
# fmt: off
STATUS_AFTER: Mapping[PurchaseOrderAction, Sequence[Status | None]] = {
    #                                 OPEN       PARTIAL  RECEIVED  SHORT  CANCELLED
    PurchaseOrderAction.RECEIVE:     (PARTIAL,   PARTIAL, None,     None,  None),
    PurchaseOrderAction.CANCEL:      (CANCELLED, None,    None,     None,  CANCELLED),
    PurchaseOrderAction.WITHDRAW:    (CANCELLED, PARTIAL, RECEIVED, SHORT, CANCELLED),
    PurchaseOrderAction.CLOSE_SHORT: (SHORT,     SHORT,   None,     SHORT, None),
}
# fmt: on


def line(product_id: UUID, quantity: int, received: int = 0) -> OrderedLine:
    sku = {CHAIR: "CHAIR", DESK: "DESK"}[product_id]
    return OrderedLine(product_id=product_id, sku=sku, quantity=quantity, received=received)


def distribute(
    lines: Sequence[OrderedLine],
    received: Mapping[UUID, int] | None,
    *,
    status: Status = OPEN,
    tolerance: int = 0,
) -> tuple[Status, list[int]]:
    return distribute_receipt(status, lines, received, reference="P-1", tolerance=tolerance)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("action", PurchaseOrderAction)
def test_action_in_each_status_agrees_with_table(
    action: PurchaseOrderAction, status: Status
) -> None:
    after = STATUS_AFTER[action][list(Status).index(status)]
    if after is None:
        with pytest.raises(ConflictError, match="Purchase order P-1 cannot be "):
            decide(status, action, reference="P-1")
    else:
        assert decide(status, action, reference="P-1") == after


@pytest.mark.parametrize(
    ("action", "status", "text"),
    [
        (PurchaseOrderAction.RECEIVE, RECEIVED, "status is received.*as a stock adjustment"),
        (PurchaseOrderAction.RECEIVE, CANCELLED, "status is cancelled.*as a stock adjustment"),
        (PurchaseOrderAction.CANCEL, PARTIAL, "is partially received. Close it short instead"),
        (PurchaseOrderAction.CANCEL, SHORT, "is closed short. No further goods are expected"),
        (PurchaseOrderAction.CLOSE_SHORT, RECEIVED, "is received. Reverse its receipt"),
    ],
)
def test_error_gives_status_and_advice(
    action: PurchaseOrderAction, status: Status, text: str
) -> None:
    with pytest.raises(ConflictError, match=text):
        decide(status, action, reference="P-1")


def test_receipt_without_quantities_receives_everything_outstanding() -> None:
    lines = [line(CHAIR, 5, received=2), line(DESK, 1)]
    assert distribute(lines, None, status=PARTIAL) == (RECEIVED, [3, 1])


def test_partial_receipt_leaves_quantity_outstanding() -> None:
    lines = [line(CHAIR, 5), line(DESK, 1)]
    assert distribute(lines, {CHAIR: 2}) == (PARTIAL, [2, 0])


def test_last_receipt_completes_purchase_order() -> None:
    lines = [line(CHAIR, 5, received=3), line(DESK, 1, received=1)]
    assert distribute(lines, {CHAIR: 2}, status=PARTIAL) == (RECEIVED, [2, 0])


def test_lines_of_one_product_are_filled_in_order() -> None:
    lines = [line(CHAIR, 2), line(CHAIR, 2), line(CHAIR, 2)]
    assert distribute(lines, {CHAIR: 3}) == (PARTIAL, [2, 1, 0])


def test_rejects_quantity_above_ordered() -> None:
    with pytest.raises(
        QuantityExceedsOrdered,
        match=r"Cannot receive 4 × CHAIR for purchase order P-1: the outstanding quantity is 3\. ",
    ):
        distribute([line(CHAIR, 5, received=2)], {CHAIR: 4})


def test_rejects_product_without_line() -> None:
    with pytest.raises(ProductNotOrdered, match=f"P-1 has no line of product {DESK}"):
        distribute([line(CHAIR, 5)], {CHAIR: 1, DESK: 1})


def test_over_receipt_is_limited_by_tolerance_of_each_line() -> None:
    lines = [line(CHAIR, 10, received=8), line(CHAIR, 5)]
    assert distribute(lines, {CHAIR: 8}, status=PARTIAL, tolerance=20) == (RECEIVED, [3, 5])
    assert distribute(lines, {CHAIR: 10}, status=PARTIAL, tolerance=20) == (RECEIVED, [4, 6])
    with pytest.raises(
        QuantityExceedsOrdered, match="quantity is 7, the over-receipt tolerance is 3"
    ):
        distribute(lines, {CHAIR: 11}, status=PARTIAL, tolerance=20)


def test_earlier_over_receipt_reduces_allowance() -> None:
    lines = [line(CHAIR, 10, received=11), line(DESK, 1)]
    assert distribute(lines, {CHAIR: 1}, status=PARTIAL, tolerance=20) == (PARTIAL, [1, 0])
    with pytest.raises(
        QuantityExceedsOrdered, match="quantity is 0, the over-receipt tolerance is 1"
    ):
        distribute(lines, {CHAIR: 2}, status=PARTIAL, tolerance=20)


def test_received_order_accepts_more_within_tolerance() -> None:
    received = [line(CHAIR, 10, received=10)]
    assert distribute(received, {CHAIR: 2}, status=RECEIVED, tolerance=20) == (RECEIVED, [2])
    with pytest.raises(QuantityExceedsOrdered):
        distribute(received, {CHAIR: 3}, status=RECEIVED, tolerance=20)


@pytest.mark.parametrize(("quantities", "tolerance"), [({CHAIR: 1}, 0), (None, 20)])
def test_rejects_receipt_of_received_order(
    quantities: Mapping[UUID, int] | None, tolerance: int
) -> None:
    received = [line(CHAIR, 10, received=10)]
    with pytest.raises(PurchaseOrderCannotBeReceived):
        distribute(received, quantities, status=RECEIVED, tolerance=tolerance)


def test_over_receipt_of_one_product_does_not_complete_another() -> None:
    lines = [line(CHAIR, 10), line(DESK, 1)]
    assert distribute(lines, {CHAIR: 12}, tolerance=20) == (PARTIAL, [12, 0])


@pytest.mark.parametrize(
    ("before", "received", "after"),
    [
        (PARTIAL, 4, PARTIAL),
        (PARTIAL, 0, OPEN),
        (RECEIVED, 6, RECEIVED),
        (RECEIVED, 5, RECEIVED),
        (RECEIVED, 4, SHORT),
        (RECEIVED, 0, SHORT),
        (SHORT, 0, SHORT),
    ],
)
def test_reversal_keeps_closed_orders_closed(before: Status, received: int, after: Status) -> None:
    assert status_after_reversal(before, [line(CHAIR, 5, received=received)]) == after
