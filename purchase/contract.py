"""What Purchase can be told to do, and what it tells the others."""

from dataclasses import dataclass
from uuid import UUID

from orderflow.messaging.messages import Command, Event


@dataclass(frozen=True, kw_only=True)
class PeggedQuantity:
    """A quantity of a product and its peg: the reservation it is bought for. Purchase hands it on and reads nothing in it."""

    product_id: UUID
    quantity: int
    bought_for: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class CreatePurchaseOrder(Command):
    """Order from a supplier, under an id that the requester made up: told twice, it is one purchase order.

    `requester_id` is the key that keeps one requester's commands in order; it means nothing to Purchase.
    """

    purchase_order_id: UUID
    requester_id: UUID
    lines: tuple[PeggedQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.requester_id


@dataclass(frozen=True, kw_only=True)
class GoodsReceived(Event):
    """A purchase order arrived, or a part of it. `complete`: nothing more will come."""

    purchase_order_id: UUID
    receipt_id: UUID
    lines: tuple[PeggedQuantity, ...]
    complete: bool

    @property
    def key(self) -> UUID:
        return self.purchase_order_id
