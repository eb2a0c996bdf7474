"""Quantities of products, and lists of them. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from orderflow.core.errors import DomainError

MAX_QUANTITY = 1_000_000_000


class QuantityOutOfRange(DomainError):
    """A quantity, or the sum of the quantities of one product, is not from 1 to 1,000,000,000."""

    code = "quantity_out_of_range"

    def __init__(self, quantity: int) -> None:
        super().__init__(
            f"The quantity is {quantity:,}. It must be a whole number from 1 to "
            f"{MAX_QUANTITY:,}. Correct the quantity. No changes were made."
        )


class LinesRequired(DomainError):
    """The request has no lines."""

    code = "lines_required"

    def __init__(self) -> None:
        super().__init__(
            "At least one line is required. Add a product and a quantity. No changes were made."
        )


@dataclass(frozen=True, kw_only=True)
class ProductQuantity:
    product_id: UUID
    quantity: int


def validate_lines(lines: Iterable[ProductQuantity]) -> tuple[ProductQuantity, ...]:
    """Return one line for each product, with the sum of its quantities, in the given order.

    Raises: `LinesRequired`, `QuantityOutOfRange`.
    """
    total: Counter[UUID] = Counter()
    for line in lines:
        _check_range(line.quantity)
        total[line.product_id] += line.quantity
    if not total:
        raise LinesRequired()
    for quantity in total.values():
        _check_range(quantity)
    return tuple(
        ProductQuantity(product_id=product_id, quantity=quantity)
        for product_id, quantity in total.items()
    )


def _check_range(quantity: int) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise QuantityOutOfRange(quantity)
