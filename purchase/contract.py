"""What Purchase can be told to do, and what it tells the others."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
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
class CancelPurchaseOrder(Command):
    """The requester does not need it any more: cancel it, if nothing of it has arrived. Otherwise it is kept, and says so.

    It may be told of one that has ended, or that Purchase has never heard of, and will then never order.
    """

    purchase_order_id: UUID
    requester_id: UUID

    @property
    def key(self) -> UUID:
        return self.requester_id


@dataclass(frozen=True, kw_only=True)
class ReverseReceipt(Command):
    """A part of a receipt was counted wrongly, and Stock has taken it off the shelf: it has not arrived. `by`: a person."""

    reversal_id: UUID
    receipt_id: UUID
    product: ProductQuantity
    reason: str
    by: str

    @property
    def key(self) -> UUID:
        return self.receipt_id


@dataclass(frozen=True, kw_only=True)
class GoodsReceived(Event):
    """A purchase order arrived, or a part of it. `complete`: nothing more will come. `number`: 1 for its first receipt."""

    purchase_order_id: UUID
    receipt_id: UUID
    lines: tuple[PeggedQuantity, ...]
    complete: bool
    number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderCancelled(Event):
    """Nothing of it has arrived, and nothing will come. `number`: one more than its receipts."""

    purchase_order_id: UUID
    number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderClosedShort(Event):
    """What has not arrived so far will never come. `number`: one more than its receipts."""

    purchase_order_id: UUID
    number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderExpected(Event):
    """It is expected on another day than before: until then it is not overdue."""

    purchase_order_id: UUID
    expected_at: datetime

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderOverdue(Event):
    """It was expected earlier than now, and is still open. Said once for each date that was expected."""

    purchase_order_id: UUID
    expected_at: datetime

    @property
    def key(self) -> UUID:
        return self.purchase_order_id
