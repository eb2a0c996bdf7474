"""The events that Sales publishes."""

from dataclasses import dataclass
from uuid import UUID

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Event


@dataclass(frozen=True, kw_only=True)
class SalesOrderCreated(Event):
    """A sales order was placed with these lines."""

    sales_order_id: UUID
    reference: str
    lines: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderChanged(Event):
    """All lines of a sales order were replaced by `lines`."""

    sales_order_id: UUID
    revision: int
    lines: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderDelivered(Event):
    """A sales order was delivered; Stock then ships its reservation."""

    sales_order_id: UUID

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderCancelled(Event):
    """A sales order was cancelled; Stock then releases its reservation."""

    sales_order_id: UUID

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderOverdue(Event):
    """A sales order exceeded its status limit, or goods that it awaits became overdue.

    Not published again while the order is overdue. Entering another status can clear the flag.
    """

    sales_order_id: UUID
    status: str

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderNeedsAttention(Event):
    """The purchase limit is reached: nothing is purchased for `shortages` until a user decides."""

    sales_order_id: UUID
    shortages: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id
