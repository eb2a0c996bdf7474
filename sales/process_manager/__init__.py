"""Decides what happens next to a sales order. Pure: what it cannot know (ids, settings, how far Stock is) comes in as `Facts`.

`TABLE` is the whole process. `decide()` finds the one row for a state and a message; a pair that no row names is an
`UnexpectedMessage`, never silence. docs/process.md explains the table, row by row, and a test keeps the two equal.
"""

from sales.process_manager.process import (
    AG,
    AS,
    CX,
    DD,
    DL,
    NEW,
    Cancel,
    CancelPurchases,
    Change,
    Decision,
    Deliver,
    Facts,
    LimitPassed,
    NothingToTryAgain,
    OrderCannotBeCancelled,
    OrderCannotBeChanged,
    OrderCannotBeDelivered,
    OwnPurchase,
    Process,
    RetryReservation,
    State,
    TryAgain,
)
from sales.process_manager.table import SECTIONS, TABLE, as_text, decide

__all__ = [
    "AG",
    "AS",
    "CX",
    "DD",
    "DL",
    "NEW",
    "SECTIONS",
    "TABLE",
    "Cancel",
    "CancelPurchases",
    "Change",
    "Decision",
    "Deliver",
    "Facts",
    "LimitPassed",
    "NothingToTryAgain",
    "OrderCannotBeCancelled",
    "OrderCannotBeChanged",
    "OrderCannotBeDelivered",
    "OwnPurchase",
    "Process",
    "RetryReservation",
    "State",
    "TryAgain",
    "as_text",
    "decide",
]
