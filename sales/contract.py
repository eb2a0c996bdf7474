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
class SalesOrderDelivered(Event):
    sales_order_id: UUID

    @property
    def key(self) -> UUID:
        return self.sales_order_id
