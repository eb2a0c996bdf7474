"""What may be done with a purchase order in which status, and how goods that arrive fall on its lines. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from orderflow.refusals import Conflict, Refused


class Status(StrEnum):
    OPEN = "open"
    PARTIALLY_RECEIVED = "partially_received"
    RECEIVED = "received"
    CLOSED_SHORT = "closed_short"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Outstanding:
    """A line of a purchase order. Lines of one product with different pegs are different lines."""

    product_id: UUID
    sku: str
    quantity: int
    received: int

    @property
    def quantity_to_come(self) -> int:
        return max(self.quantity - self.received, 0)

    def may_exceed_by(self, tolerance: int) -> int:
        """How much may still come that was not ordered; `tolerance` is in percent of what was ordered, rounded down."""
        return self.quantity * tolerance // 100 - max(self.received - self.quantity, 0)


class NothingOutstanding(Conflict):
    """Nothing of the purchase order is still to come."""

    code = "nothing_outstanding"

    def __init__(self, reference: str, status: Status) -> None:
        why = {
            Status.RECEIVED: "is complete: nothing of it is still to come. Book what is too much",
            Status.CLOSED_SHORT: "was closed short: nothing of it is expected any more. Book what came all the same",
            Status.CANCELLED: "was cancelled: nothing of it is expected any more. Book what came all the same",
        }
        super().__init__(f"Purchase order {reference} {why[status]} as a stock adjustment.")


class PurchaseOrderCannotBeCancelled(Conflict):
    """A part of the purchase order has arrived, or it has ended."""

    code = "purchase_order_cannot_be_cancelled"

    def __init__(self, reference: str, status: Status) -> None:
        why = {
            Status.PARTIALLY_RECEIVED: "a part of it has arrived. Close it short instead",
            Status.RECEIVED: "all of it has arrived. Reverse its receipt, if it was counted wrongly",
            Status.CLOSED_SHORT: "it was closed short already, and nothing more will come",
        }
        super().__init__(f"Purchase order {reference} cannot be cancelled: {why[status]}.")


class PurchaseOrderCannotBeClosedShort(Conflict):
    """Nothing of the purchase order has arrived, or it has ended."""

    code = "purchase_order_cannot_be_closed_short"

    def __init__(self, reference: str, status: Status) -> None:
        why = {
            Status.RECEIVED: "all of it has arrived. Reverse its receipt, if it was counted wrongly",
            Status.CANCELLED: "it was cancelled already, and nothing will come",
        }
        super().__init__(f"Purchase order {reference} cannot be closed short: {why[status]}.")


class MoreThanOrdered(Conflict):
    """More arrived than is still to come, beyond what is tolerated."""

    code = "more_than_ordered"

    def __init__(self, reference: str, product: str, quantity: int, outstanding: int, tolerated: int) -> None:
        tolerance = f" (and {tolerated:,} more are tolerated)" if tolerated else ""
        super().__init__(
            f"Of purchase order {reference} only {outstanding:,} × {product} are still to come{tolerance}, not {quantity:,}. "
            "Receive what was ordered, and book the rest as a stock adjustment."
        )


class NotOnTheOrder(Conflict):
    """Something arrived that was not ordered with this purchase order."""

    code = "not_on_the_order"

    def __init__(self, reference: str, product_id: UUID) -> None:
        super().__init__(f"Purchase order {reference} has no line of product {product_id}. Book it as a stock adjustment.")


class Act(StrEnum):
    RECEIVE = "receive"
    CANCEL = "cancel"  # a person says so, for the supplier or for us
    GIVE_UP = "give up"  # whoever had it ordered does not need it any more
    CLOSE_SHORT = "close short"


Refusal = Callable[[str, Status], Conflict]

# The status after an act, or the refusal. Where the status is the same, nothing happens and nobody is told.
TABLE: Mapping[Act, Mapping[Status, Status | Refusal]] = {
    Act.RECEIVE: {
        Status.OPEN: Status.PARTIALLY_RECEIVED,  # or received, if that is all
        Status.PARTIALLY_RECEIVED: Status.PARTIALLY_RECEIVED,  # or received, if that was the rest
        Status.RECEIVED: NothingOutstanding,
        Status.CLOSED_SHORT: NothingOutstanding,
        Status.CANCELLED: NothingOutstanding,
    },
    Act.CANCEL: {
        Status.OPEN: Status.CANCELLED,
        Status.PARTIALLY_RECEIVED: PurchaseOrderCannotBeCancelled,
        Status.RECEIVED: PurchaseOrderCannotBeCancelled,
        Status.CLOSED_SHORT: PurchaseOrderCannotBeCancelled,
        Status.CANCELLED: Status.CANCELLED,
    },
    Act.GIVE_UP: {
        Status.OPEN: Status.CANCELLED,
        Status.PARTIALLY_RECEIVED: Status.PARTIALLY_RECEIVED,  # it is kept, and says so
        Status.RECEIVED: Status.RECEIVED,
        Status.CLOSED_SHORT: Status.CLOSED_SHORT,
        Status.CANCELLED: Status.CANCELLED,
    },
    Act.CLOSE_SHORT: {
        Status.OPEN: Status.CLOSED_SHORT,
        Status.PARTIALLY_RECEIVED: Status.CLOSED_SHORT,
        Status.RECEIVED: PurchaseOrderCannotBeClosedShort,
        Status.CLOSED_SHORT: Status.CLOSED_SHORT,
        Status.CANCELLED: PurchaseOrderCannotBeClosedShort,
    },
}


def decide(status: Status, act: Act, *, reference: str) -> Status:
    """The status after the act. Raises `NothingOutstanding`, `PurchaseOrderCannotBe…`."""
    after = TABLE[act][status]
    if isinstance(after, Status):
        return after
    raise after(reference, status)


def receive(
    status: Status, lines: Sequence[Outstanding], arrived: Mapping[UUID, int] | None, *, reference: str, tolerance: int = 0
) -> tuple[Status, list[int]]:
    """The new status, and how much falls on each line; goods of one product fill its lines in order.

    `arrived` is by product; None means everything that is still to come. More than was ordered may come up to the tolerance,
    in percent of each line. Raises `NothingOutstanding`, `MoreThanOrdered`, `NotOnTheOrder`.
    """
    more_is_tolerated = status == Status.RECEIVED and arrived and tolerance
    after = status if more_is_tolerated else decide(status, Act.RECEIVE, reference=reference)
    if arrived is None:
        return Status.RECEIVED, [line.quantity_to_come for line in lines]
    left = Counter(arrived)
    falls = [_take(left, line.product_id, line.quantity_to_come) for line in lines]
    complete = all(line.quantity_to_come == share for line, share in zip(lines, falls, strict=True))
    for index, line in enumerate(lines):
        falls[index] += _take(left, line.product_id, line.may_exceed_by(tolerance))
    for product_id, too_much in (+left).items():
        raise _too_much(product_id, arrived[product_id], lines, reference, arrived[product_id] - too_much)
    return (Status.RECEIVED if complete else after), falls


def _take(left: Counter[UUID], product_id: UUID, at_most: int) -> int:
    share = min(left[product_id], max(at_most, 0))
    left[product_id] -= share
    return share


def _too_much(product_id: UUID, quantity: int, lines: Sequence[Outstanding], reference: str, possible: int) -> Refused:
    ordered = [line for line in lines if line.product_id == product_id]
    if not ordered:
        return NotOnTheOrder(reference, product_id)
    outstanding = sum(line.quantity_to_come for line in ordered)
    return MoreThanOrdered(reference, ordered[0].sku, quantity, outstanding, possible - outstanding)


def after_reversal(status: Status, lines: Sequence[Outstanding]) -> Status:
    """The status once less has arrived than was thought.

    What was closed stays closed, and one that was complete is closed short from now on: others have been told that nothing more
    will come, and may have bought elsewhere since.
    """
    if status == Status.RECEIVED:
        return Status.CLOSED_SHORT if any(line.quantity_to_come for line in lines) else Status.RECEIVED
    if status == Status.PARTIALLY_RECEIVED:
        return Status.PARTIALLY_RECEIVED if any(line.received for line in lines) else Status.OPEN
    return status
