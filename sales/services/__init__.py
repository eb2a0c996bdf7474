"""The services of Sales. Each runs in one transaction."""

from sales.services.decisions import (
    RevisionConflict,
    cancel_orders,
    change_order,
    deliver_orders,
    retry_reservations,
)
from sales.services.messages import handle_messages
from sales.services.overdue import mark_overdue
from sales.services.placement import (
    SalesOrderAlreadyExists,
    SalesOrderDraft,
    place_orders,
    place_orders_individually,
)
from sales.services.work import SalesOrderNotFound

__all__ = [
    "RevisionConflict",
    "SalesOrderAlreadyExists",
    "SalesOrderDraft",
    "SalesOrderNotFound",
    "cancel_orders",
    "change_order",
    "deliver_orders",
    "handle_messages",
    "mark_overdue",
    "place_orders",
    "place_orders_individually",
    "retry_reservations",
]
