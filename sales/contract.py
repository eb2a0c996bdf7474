"""What Sales tells the others."""

from dataclasses import dataclass
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Event


@dataclass(frozen=True, kw_only=True)
class SalesOrderCreated(Event):
    sales_order_id: UUID
    reference: str
    lines: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderChanged(Event):
    """The customer wants something else: `lines` is all that is wanted now."""

    sales_order_id: UUID
    revision: int
    lines: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderDelivered(Event):
    sales_order_id: UUID

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderCancelled(Event):
    sales_order_id: UUID

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderOverdue(Event):
    """It is in this state for longer than it should, or goods that are on order for it are late. Said when it becomes so."""

    sales_order_id: UUID
    state: str

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class SalesOrderNeedsAttention(Event):
    """What is `missing` was bought so often in vain that nothing more is bought until a person has decided."""

    sales_order_id: UUID
    missing: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.sales_order_id
