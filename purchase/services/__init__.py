"""The services of Purchase. Each runs in one transaction."""

from purchase.services.creation import (
    PurchaseOrderAlreadyExists,
    PurchaseOrderDraft,
    create_purchase_orders,
)
from purchase.services.dates import ExpectedDateOutOfRange
from purchase.services.decisions import cancel_purchase_orders, close_short, reschedule
from purchase.services.messages import handle_messages
from purchase.services.overdue import mark_overdue
from purchase.services.receipt_work import ReceiptAlreadyExists, ReceiptDraft
from purchase.services.receipts import receive_goods, receive_outstanding
from purchase.services.work import (
    PurchaseOrderClosed,
    PurchaseOrderIsExternal,
    PurchaseOrderNotFound,
)

__all__ = [
    "ExpectedDateOutOfRange",
    "PurchaseOrderAlreadyExists",
    "PurchaseOrderClosed",
    "PurchaseOrderDraft",
    "PurchaseOrderIsExternal",
    "PurchaseOrderNotFound",
    "ReceiptAlreadyExists",
    "ReceiptDraft",
    "cancel_purchase_orders",
    "close_short",
    "create_purchase_orders",
    "handle_messages",
    "mark_overdue",
    "receive_goods",
    "receive_outstanding",
    "reschedule",
]
