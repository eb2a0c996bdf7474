"""The commands that Purchase handles and the events that it publishes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Event


@dataclass(frozen=True, kw_only=True)
class PeggedQuantity:
    """A quantity of a product, and the reservation that it is pegged to.

    Purchase only stores the peg, and repeats it in GoodsReceived.
    """

    product_id: UUID
    quantity: int
    pegged_to: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class CreatePurchaseOrder(Command):
    """Create a purchase order with this id. If the id exists with the same lines, nothing changes.

    `requester_id`: the key, so that the commands of one requester are handled in order.
    """

    purchase_order_id: UUID
    requester_id: UUID
    lines: tuple[PeggedQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.requester_id


@dataclass(frozen=True, kw_only=True)
class WithdrawPurchaseOrder(Command):
    """Cancel a purchase order if nothing was received; otherwise keep it and mark it as withdrawn.

    A closed purchase order is not changed. An unknown one is stored as cancelled, so that it is
    not created later.
    """

    purchase_order_id: UUID
    requester_id: UUID

    @property
    def key(self) -> UUID:
        return self.requester_id


@dataclass(frozen=True, kw_only=True)
class ReverseReceipt(Command):
    """Reduce the received quantity of a receipt: Stock has recorded the reversal."""

    reversal_id: UUID
    receipt_id: UUID
    line: ProductQuantity
    reason: str
    actor: str

    @property
    def key(self) -> UUID:
        return self.receipt_id


@dataclass(frozen=True, kw_only=True)
class GoodsReceived(Event):
    """Goods of a purchase order arrived.

    `final`: no further goods will arrive. `sequence_number`: number of the receipt within its
    purchase order; 1 for the first.
    """

    purchase_order_id: UUID
    receipt_id: UUID
    lines: tuple[PeggedQuantity, ...]
    final: bool
    sequence_number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderCancelled(Event):
    """A purchase order was cancelled; nothing was received, or every receipt was reversed.

    `sequence_number`: 1 more than that of its last receipt; 1 without receipts.
    """

    purchase_order_id: UUID
    sequence_number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderClosedShort(Event):
    """A purchase order is closed although not everything arrived.

    `sequence_number`: 1 more than that of its last receipt; 1 without receipts.
    """

    purchase_order_id: UUID
    sequence_number: int = 0

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderRescheduled(Event):
    """A purchase order has another expected date; it is not overdue before that date."""

    purchase_order_id: UUID
    expected_at: datetime

    @property
    def key(self) -> UUID:
        return self.purchase_order_id


@dataclass(frozen=True, kw_only=True)
class PurchaseOrderOverdue(Event):
    """The expected date of an open purchase order has passed. Published once for each date."""

    purchase_order_id: UUID
    expected_at: datetime

    @property
    def key(self) -> UUID:
        return self.purchase_order_id
