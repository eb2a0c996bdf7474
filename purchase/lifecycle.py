"""The statuses of a purchase order, and the distribution of a receipt over its lines. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from orderflow.core.errors import ConflictError, DomainError


class Status(StrEnum):
    OPEN = "open"
    PARTIALLY_RECEIVED = "partially_received"
    RECEIVED = "received"
    CLOSED_SHORT = "closed_short"
    CANCELLED = "cancelled"

    @property
    def text(self) -> str:
        """The status in running text: "partially received"."""
        return self.replace("_", " ")

    @property
    def label(self) -> str:
        """The status as a label: "Partially received"."""
        return self.text.capitalize()


OPEN_STATUSES = (Status.OPEN, Status.PARTIALLY_RECEIVED)


class PurchaseOrderAction(StrEnum):
    RECEIVE = "receive"
    CANCEL = "cancel"  # by a user
    WITHDRAW = "withdraw"  # by Sales, which no longer needs the purchase order
    CLOSE_SHORT = "close short"


@dataclass(frozen=True, kw_only=True)
class OrderedLine:
    """A line of a purchase order. Different pegs of one product are different lines."""

    product_id: UUID
    sku: str
    quantity: int
    received: int

    @property
    def outstanding(self) -> int:
        return max(self.quantity - self.received, 0)

    def over_receipt_allowance(self, tolerance: int) -> int:
        """Return how much more may be received above the ordered quantity.

        `tolerance`: percent of the ordered quantity; the result is rounded down.
        """
        return self.quantity * tolerance // 100 - max(self.received - self.quantity, 0)


class _RejectedInStatus(ConflictError):
    """The status of the purchase order does not allow an action.

    `verb`: the action, as in "cannot be cancelled". `advice`: what to do, by status.
    """

    verb: ClassVar[str]
    advice: ClassVar[Mapping[Status, str]]

    def __init__(self, reference: str, status: Status) -> None:
        super().__init__(
            f"Purchase order {reference} cannot be {self.verb}: its status is {status.text}. "
            f"{self.advice[status]} No changes were made."
        )


class PurchaseOrderCannotBeReceived(_RejectedInStatus):
    """The purchase order is closed: no further goods are expected."""

    code = "purchase_order_cannot_be_received"
    verb = "received"
    advice = dict.fromkeys(
        (Status.RECEIVED, Status.CLOSED_SHORT, Status.CANCELLED),
        "No further goods are expected. Record these goods as a stock adjustment.",
    )


class PurchaseOrderCannotBeCancelled(_RejectedInStatus):
    """Goods of the purchase order were received, or it is closed short."""

    code = "purchase_order_cannot_be_cancelled"
    verb = "cancelled"
    advice = {
        Status.PARTIALLY_RECEIVED: "Close it short instead.",
        Status.RECEIVED: "Reverse its receipt if the goods did not arrive.",
        Status.CLOSED_SHORT: "No further goods are expected; there is nothing to cancel.",
    }


class PurchaseOrderCannotBeClosedShort(_RejectedInStatus):
    """The purchase order is received or cancelled."""

    code = "purchase_order_cannot_be_closed_short"
    verb = "closed short"
    advice = {
        Status.RECEIVED: "Reverse its receipt if the goods did not arrive.",
        Status.CANCELLED: "No further goods are expected; there is nothing to close.",
    }


class QuantityExceedsOrdered(ConflictError):
    """The received quantity exceeds the outstanding quantity plus the over-receipt tolerance."""

    code = "quantity_exceeds_ordered"

    def __init__(
        self, reference: str, sku: str, quantity: int, outstanding: int, tolerated: int
    ) -> None:
        tolerance = f", the over-receipt tolerance is {tolerated:,}" if tolerated else ""
        super().__init__(
            f"Cannot receive {quantity:,} × {sku} for purchase order {reference}: the outstanding "
            f"quantity is {outstanding:,}{tolerance}. Receive the outstanding quantity, and "
            "record the excess as a stock adjustment. No changes were made."
        )


class ProductNotOrdered(ConflictError):
    """The purchase order has no line of this product."""

    code = "product_not_ordered"

    def __init__(self, reference: str, product_id: UUID) -> None:
        super().__init__(
            f"Purchase order {reference} has no line of product {product_id}. "
            "Record these goods as a stock adjustment. No changes were made."
        )


Rejection = Callable[[str, Status], ConflictError]

# A row reads: the action, in this status, leads to the next status or raises the error. If the
# next status is the same status, the action has no effect, with two exceptions: RECEIVE records
# the receipt, and WITHDRAW marks a partially received purchase order as withdrawn.
# `distribute_receipt` adds to RECEIVE: the next status is RECEIVED if nothing is outstanding
# afterwards, and a received purchase order accepts a receipt within the over-receipt tolerance.
# fmt: off
TABLE: Mapping[PurchaseOrderAction, Mapping[Status, Status | Rejection]] = {
    PurchaseOrderAction.RECEIVE: {
        Status.OPEN:               Status.PARTIALLY_RECEIVED,
        Status.PARTIALLY_RECEIVED: Status.PARTIALLY_RECEIVED,
        Status.RECEIVED:           PurchaseOrderCannotBeReceived,
        Status.CLOSED_SHORT:       PurchaseOrderCannotBeReceived,
        Status.CANCELLED:          PurchaseOrderCannotBeReceived,
    },
    PurchaseOrderAction.CANCEL: {
        Status.OPEN:               Status.CANCELLED,
        Status.PARTIALLY_RECEIVED: PurchaseOrderCannotBeCancelled,
        Status.RECEIVED:           PurchaseOrderCannotBeCancelled,
        Status.CLOSED_SHORT:       PurchaseOrderCannotBeCancelled,
        Status.CANCELLED:          Status.CANCELLED,
    },
    PurchaseOrderAction.WITHDRAW: {
        Status.OPEN:               Status.CANCELLED,
        Status.PARTIALLY_RECEIVED: Status.PARTIALLY_RECEIVED,
        Status.RECEIVED:           Status.RECEIVED,
        Status.CLOSED_SHORT:       Status.CLOSED_SHORT,
        Status.CANCELLED:          Status.CANCELLED,
    },
    PurchaseOrderAction.CLOSE_SHORT: {
        Status.OPEN:               Status.CLOSED_SHORT,
        Status.PARTIALLY_RECEIVED: Status.CLOSED_SHORT,
        Status.RECEIVED:           PurchaseOrderCannotBeClosedShort,
        Status.CLOSED_SHORT:       Status.CLOSED_SHORT,
        Status.CANCELLED:          PurchaseOrderCannotBeClosedShort,
    },
}
# fmt: on


def decide(status: Status, action: PurchaseOrderAction, *, reference: str) -> Status:
    """Return the status after the action.

    Raises: `PurchaseOrderCannotBeReceived`, `PurchaseOrderCannotBeCancelled`,
    `PurchaseOrderCannotBeClosedShort`.
    """
    after = TABLE[action][status]
    if isinstance(after, Status):
        return after
    raise after(reference, status)


def distribute_receipt(
    status: Status,
    lines: Sequence[OrderedLine],
    received: Mapping[UUID, int] | None,
    *,
    reference: str,
    tolerance: int = 0,
) -> tuple[Status, list[int]]:
    """Return the status after a receipt, and the quantity received for each line.

    `received`: quantities by product id; None means everything outstanding. The quantity of a
    product fills its lines in order. `tolerance`: over-receipt tolerance, in percent of the
    ordered quantity of each line; within it, a received purchase order accepts a further receipt.
    Raises: `PurchaseOrderCannotBeReceived`, `QuantityExceedsOrdered`, `ProductNotOrdered`.
    """
    is_over_receipt = status == Status.RECEIVED and received and tolerance
    after = status
    if not is_over_receipt:
        after = decide(status, PurchaseOrderAction.RECEIVE, reference=reference)
    if received is None:
        return Status.RECEIVED, [line.outstanding for line in lines]
    left = Counter(received)
    shares = [_take_share(left, line.product_id, line.outstanding) for line in lines]
    complete = all(line.outstanding == share for line, share in zip(lines, shares, strict=True))
    for index, line in enumerate(lines):
        allowance = line.over_receipt_allowance(tolerance)
        shares[index] += _take_share(left, line.product_id, allowance)
    for product_id, excess in (+left).items():
        quantity = received[product_id]
        raise _excess_error(product_id, quantity, lines, reference, quantity - excess)
    return (Status.RECEIVED if complete else after), shares


def status_after_reversal(status: Status, lines: Sequence[OrderedLine]) -> Status:
    """Return the status after the received quantity of a line was lowered.

    A received purchase order becomes closed short if a quantity is outstanding: its closing was
    published, so it is not opened again. A partially received one becomes open if nothing is
    received any more. Other statuses do not change.
    """
    if status == Status.RECEIVED:
        outstanding = any(line.outstanding for line in lines)
        return Status.CLOSED_SHORT if outstanding else Status.RECEIVED
    if status == Status.PARTIALLY_RECEIVED:
        received = any(line.received for line in lines)
        return Status.PARTIALLY_RECEIVED if received else Status.OPEN
    return status


def _take_share(left: Counter[UUID], product_id: UUID, at_most: int) -> int:
    """Take up to this quantity of the product from what is left, and return it."""
    share = min(left[product_id], max(at_most, 0))
    left[product_id] -= share
    return share


def _excess_error(
    product_id: UUID,
    quantity: int,
    lines: Sequence[OrderedLine],
    reference: str,
    max_quantity: int,
) -> DomainError:
    """Return the error for a quantity above `max_quantity`, the most that can be received."""
    ordered = [line for line in lines if line.product_id == product_id]
    if not ordered:
        return ProductNotOrdered(reference, product_id)
    outstanding = sum(line.outstanding for line in ordered)
    tolerated = max_quantity - outstanding
    return QuantityExceedsOrdered(reference, ordered[0].sku, quantity, outstanding, tolerated)
