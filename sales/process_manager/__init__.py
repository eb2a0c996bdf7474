"""Decide the next step of a sales order. Pure: imports neither Django nor the database.

`TRANSITIONS` is the whole process, and `decide()` applies it. A message without a transition
raises `UnexpectedMessage`. docs/process.md shows every transition; a test compares it with the
table.
"""

from sales.process_manager.guards import PurchaseOrderEvent
from sales.process_manager.process import (
    AWAITING_STATUSES,
    CLOSED_STATUSES,
    STORED_STATUSES,
    Cancel,
    Change,
    Decision,
    Deliver,
    Facts,
    NothingToRetry,
    OpenPurchaseOrder,
    Process,
    RetryNow,
    RetryReservation,
    SalesOrderCannotBeCancelled,
    SalesOrderCannotBeChanged,
    SalesOrderCannotBeDelivered,
    Status,
    StatusLimitExceeded,
    WithdrawPolicy,
)
from sales.process_manager.table import TRANSITION_GROUPS, TRANSITIONS, as_text, decide

__all__ = [
    "AWAITING_STATUSES",
    "CLOSED_STATUSES",
    "STORED_STATUSES",
    "TRANSITIONS",
    "TRANSITION_GROUPS",
    "Cancel",
    "Change",
    "Decision",
    "Deliver",
    "Facts",
    "NothingToRetry",
    "OpenPurchaseOrder",
    "Process",
    "PurchaseOrderEvent",
    "RetryNow",
    "RetryReservation",
    "SalesOrderCannotBeCancelled",
    "SalesOrderCannotBeChanged",
    "SalesOrderCannotBeDelivered",
    "Status",
    "StatusLimitExceeded",
    "WithdrawPolicy",
    "as_text",
    "decide",
]
