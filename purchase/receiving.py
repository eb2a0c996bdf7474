"""What may be done with a purchase order in which status, and how arriving goods fall on its lines. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from orderflow.refusals import Conflict, Refused


class Status(StrEnum):
    OPEN = "open"
    PARTIALLY_RECEIVED = "partially_received"
    RECEIVED = "received"


@dataclass(frozen=True, kw_only=True)
class Outstanding:
    """A line of a purchase order. Lines of one product with different pegs are different lines."""

    product_id: UUID
    sku: str
    quantity: int
    received: int

    @property
    def quantity_to_come(self) -> int:
        return self.quantity - self.received


class NothingOutstanding(Conflict):
    code = "nothing_outstanding"

    def __init__(self, reference: str) -> None:
        super().__init__(f"Purchase order {reference} is complete: nothing of it is still to come.")


class MoreThanOrdered(Conflict):
    code = "more_than_ordered"

    def __init__(self, reference: str, product: str, quantity: int, outstanding: int) -> None:
        super().__init__(
            f"Of purchase order {reference} only {outstanding:,} × {product} are still to come, not {quantity:,}. "
            "Receive what was ordered, and book the rest as a stock adjustment."
        )


class NotOnTheOrder(Conflict):
    code = "not_on_the_order"

    def __init__(self, reference: str, product_id: UUID) -> None:
        super().__init__(f"Purchase order {reference} has no line of product {product_id}. Book it as a stock adjustment.")


# status × receive: may goods be received, and which error says why not.
MAY_RECEIVE = {
    Status.OPEN: True,
    Status.PARTIALLY_RECEIVED: True,
    Status.RECEIVED: False,
}


def receive(
    status: Status, lines: Sequence[Outstanding], arrived: Mapping[UUID, int] | None, *, reference: str
) -> tuple[Status, list[int]]:
    """The new status, and how much falls on each line; goods of one product fill its lines in order.

    `arrived` is by product; None means everything that is still to come.
    Raises `NothingOutstanding`, `MoreThanOrdered`, `NotOnTheOrder`.
    """
    if not MAY_RECEIVE[status]:
        raise NothingOutstanding(reference)
    left = dict(arrived) if arrived is not None else None
    falls = []
    for line in lines:
        share = line.quantity_to_come if left is None else min(line.quantity_to_come, left.get(line.product_id, 0))
        if left is not None and share:
            left[line.product_id] -= share
        falls.append(share)
    for product_id, too_much in (left or {}).items():
        if too_much:
            raise _too_much(product_id, too_much, lines, reference)
    complete = all(line.quantity_to_come == share for line, share in zip(lines, falls, strict=True))
    return (Status.RECEIVED if complete else Status.PARTIALLY_RECEIVED), falls


def _too_much(product_id: UUID, too_much: int, lines: Sequence[Outstanding], reference: str) -> Refused:
    ordered = [line for line in lines if line.product_id == product_id]
    if not ordered:
        return NotOnTheOrder(reference, product_id)
    outstanding = sum(line.quantity_to_come for line in ordered)
    return MoreThanOrdered(reference, ordered[0].sku, outstanding + too_much, outstanding)
