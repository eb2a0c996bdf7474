"""The services of Stock. Each runs in one transaction."""

from stock.services.adjustments import (
    AdjustmentAlreadyExists,
    AdjustmentOutOfRange,
    adjust_stock,
)
from stock.services.ledger import Adjustment, InsufficientStock, Reversal
from stock.services.messages import handle_messages
from stock.services.reversals import (
    QuantityExceedsReceived,
    ReversalAlreadyExists,
    reverse_receipt,
)

__all__ = [
    "Adjustment",
    "AdjustmentAlreadyExists",
    "AdjustmentOutOfRange",
    "InsufficientStock",
    "QuantityExceedsReceived",
    "Reversal",
    "ReversalAlreadyExists",
    "adjust_stock",
    "handle_messages",
    "reverse_receipt",
]
