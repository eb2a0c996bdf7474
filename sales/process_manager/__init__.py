"""Decides what happens next to a sales order. Pure: what it cannot know (ids, settings, how far Stock is) comes in as `Facts`.

`TABLE` is the whole process. `decide()` finds the one row for a state and a message; a pair that no row names is an
`UnexpectedMessage`, never silence. README shows the table, and a test keeps the two equal.
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
from sales.process_manager.table import decide, table_as_text

__all__ = [
    "AG",
    "AS",
    "CX",
    "DD",
    "DL",
    "NEW",
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
    "decide",
    "table_as_text",
]
