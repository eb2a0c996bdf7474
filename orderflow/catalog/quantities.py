"""A quantity of a product, and lists of them. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from orderflow.refusals import Refused

LARGEST_QUANTITY = 1_000_000_000


class QuantityOutOfRange(Refused):
    """A quantity, or the sum of several, is less than 1 or more than a billion."""

    code = "quantity_out_of_range"

    def __init__(self, quantity: int) -> None:
        super().__init__(f"A quantity is a whole number from 1 to {LARGEST_QUANTITY:,}, not {quantity:,}.")


class NoLines(Refused):
    """An order of nothing."""

    code = "no_lines"

    def __init__(self) -> None:
        super().__init__("An order needs at least one line: a product and a quantity.")


@dataclass(frozen=True, kw_only=True)
class ProductQuantity:
    product_id: UUID
    quantity: int


def checked_lines(lines: Iterable[ProductQuantity]) -> tuple[ProductQuantity, ...]:
    """The lines of an order: each product once (what came twice is added up), in the order they were first named.

    Raises `NoLines`, `QuantityOutOfRange`.
    """
    total: Counter[UUID] = Counter()
    for line in lines:
        _check_range(line.quantity)
        total[line.product_id] += line.quantity
    if not total:
        raise NoLines()
    for quantity in total.values():
        _check_range(quantity)
    return tuple(ProductQuantity(product_id=product_id, quantity=quantity) for product_id, quantity in total.items())


def _check_range(quantity: int) -> None:
    if not 1 <= quantity <= LARGEST_QUANTITY:
        raise QuantityOutOfRange(quantity)
