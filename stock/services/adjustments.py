"""Record stock adjustments."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from orderflow.core.database import retry_on_unique_violation
from orderflow.core.errors import ConflictError, DomainError
from orderflow.core.quantities import MAX_QUANTITY
from orderflow.core.reasons import validate_reason
from stock.queries import recorded_adjustments
from stock.services.ledger import Adjustment
from stock.services.work import Work


class AdjustmentOutOfRange(DomainError):
    """The quantity of an adjustment is 0 or beyond ±1,000,000,000."""

    code = "adjustment_out_of_range"
    in_rest_api = False  # the schema of the endpoint rejects such quantities first

    def __init__(self, quantity: int) -> None:
        super().__init__(
            f"The adjustment is {quantity:,}. It must be a whole number from -{MAX_QUANTITY:,} to "
            f"{MAX_QUANTITY:,} and not 0. Correct the quantity. No changes were made."
        )


class AdjustmentAlreadyExists(ConflictError):
    """Another adjustment has this id."""

    code = "adjustment_already_exists"

    def __init__(self, adjustment_id: UUID) -> None:
        super().__init__(
            f"Another adjustment has the id {adjustment_id}. Choose a different id. "
            "No changes were made."
        )


@retry_on_unique_violation
def adjust_stock(adjustments: Sequence[Adjustment], *, actor: str) -> list[UUID]:
    """Record all adjustments or none; return the ids that were not recorded before.

    Added stock is allocated to backorders.
    Locks: the stock levels, by product id; then the reservations that get a share, by id.
    Raises: `InsufficientStock`, `AdjustmentAlreadyExists`, `AdjustmentOutOfRange`,
    `ReasonTooLong`.
    """
    for each in adjustments:
        if not 1 <= abs(each.quantity) <= MAX_QUANTITY:
            raise AdjustmentOutOfRange(each.quantity)
    product_ids = {each.product_id for each in adjustments}
    work = Work(products=product_ids, increases=_increases(adjustments), actor=actor)
    recorded = recorded_adjustments([each.id for each in adjustments])
    new = []
    for each in adjustments:
        content = each.product_id, each.quantity, validate_reason(each.reason)
        if each.id not in recorded:
            work.adjust(each)
            recorded[each.id] = content
            new.append(each.id)
        elif recorded[each.id] != content:
            raise AdjustmentAlreadyExists(each.id)
    work.save()
    return new


def _increases(adjustments: Iterable[Adjustment]) -> Counter[UUID]:
    """Return the added quantities by product; negative adjustments are not subtracted."""
    increases: Counter[UUID] = Counter()
    for each in adjustments:
        increases[each.product_id] += max(each.quantity, 0)
    return +increases  # without zero counts
