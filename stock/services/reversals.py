"""Reverse receipts."""

from uuid import UUID

from orderflow.core.database import retry_on_unique_violation
from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity, validate_lines
from orderflow.core.reasons import validate_reason
from stock.queries import received_quantity, recorded_reversal
from stock.services.ledger import Reversal
from stock.services.work import Work


class QuantityExceedsReceived(ConflictError):
    """The quantity exceeds the received quantity that is not reversed yet."""

    code = "quantity_exceeds_received"

    def __init__(self, receipt_id: UUID, reversible: int, quantity: int) -> None:
        advice = "Reduce `quantity`."
        if not reversible:
            advice = (
                "Check the receipt, the product and earlier reversals. If the receipt was created "
                "less than a minute ago, wait a minute and repeat the request."
            )
        super().__init__(
            f"Cannot reverse {quantity:,} of receipt {receipt_id}: of this product, "
            f"{reversible:,} can be reversed. {advice} No changes were made."
        )


class ReversalAlreadyExists(ConflictError):
    """Another receipt reversal has this id."""

    code = "receipt_reversal_already_exists"

    def __init__(self, reversal_id: UUID) -> None:
        super().__init__(
            f"Another receipt reversal has the id {reversal_id}. Choose a different id. "
            "No changes were made."
        )


@retry_on_unique_violation
def reverse_receipt(reversal: Reversal, *, actor: str) -> None:
    """Reduce on hand by a quantity that was received by mistake, and report it to Purchase.

    If the id is recorded with the same content, nothing changes. Locks: the stock level.
    Raises: `InsufficientStock`, `QuantityExceedsReceived`, `ReversalAlreadyExists`,
    `QuantityOutOfRange`, `ReasonTooLong`.
    """
    validate_lines([ProductQuantity(product_id=reversal.product_id, quantity=reversal.quantity)])
    work = Work(products={reversal.product_id}, increases={}, actor=actor)
    recorded = recorded_reversal(reversal.id)
    content = (
        reversal.receipt_id,
        reversal.product_id,
        reversal.quantity,
        validate_reason(reversal.reason),
    )
    if recorded == content:
        return
    if recorded:
        raise ReversalAlreadyExists(reversal.id)
    received = received_quantity(reversal.receipt_id, reversal.product_id)
    if reversal.quantity > received:
        raise QuantityExceedsReceived(reversal.receipt_id, received, reversal.quantity)
    work.reverse(reversal)
    work.save()
