"""What the process of a sales order is, what it is told beside messages, and what it answers."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Message
from orderflow.refusals import Conflict


class State(StrEnum):
    NEW = "new"  # never stored: the order is just being placed
    AWAITING_STOCK_RESERVATION = "awaiting_stock_reservation"
    AWAITING_GOODS_RECEIVED = "awaiting_goods_received"
    DELIVERABLE = "deliverable"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


NEW, AS, AG, DL, DD, CX = State


class CancelPurchases(StrEnum):
    """Which own purchase orders are cancelled, if nothing of them has arrived; the others are kept, for stock."""

    NEVER = "never"
    CANCELLED = "cancelled"  # those of a sales order that is cancelled
    UNNEEDED = "unneeded"  # those, too, of one that was served by other goods


@dataclass(frozen=True, kw_only=True)
class RetryReservation(Command):
    """The timer: ask whether Stock has caught up and, once it has, for the reservation. `countdown` is in seconds.

    `request` is the number that the question will have. A timer whose number is not the latest has been overtaken.
    """

    sales_order_id: UUID
    request: int
    countdown: float

    @property
    def key(self) -> UUID:
        return self.sales_order_id


# -- what people want, and what the clock says: not messages; whoever asks gets the answer at once --------------------------


@dataclass(frozen=True, kw_only=True)
class Deliver:
    reference: str


@dataclass(frozen=True, kw_only=True)
class Cancel:
    reference: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """`lines` is all that is wanted from now on."""

    reference: str
    lines: tuple[ProductQuantity, ...]


@dataclass(frozen=True, kw_only=True)
class TryAgain:
    """Buy what is missing once more, although it was bought in vain."""

    reference: str


@dataclass(frozen=True, kw_only=True)
class LimitPassed:
    """The order is in its state for longer than it should."""


# -- what is known ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OwnPurchase:
    """A purchase order that was made for the sales order and is not closed, what was ordered with it, and whether it is late."""

    purchase_order_id: UUID
    lines: tuple[ProductQuantity, ...]
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is remembered of the process of one sales order.

    `revision`: which version of the customer's wish. `request`: the number of the latest question to Stock, asked or, while a
    `RetryReservation` with this number is on its way, about to be. `times_bought`: how often it was bought for since a person
    last had a say. `open_purchases`: its own purchase orders that are not closed, the oldest first.
    """

    sales_order_id: UUID
    automatic: bool
    priority: int
    placed_at: datetime
    state: State = NEW
    revision: int = 1
    request: int = 0
    times_bought: int = 0
    open_purchases: tuple[OwnPurchase, ...] = ()
    needs_attention: bool = False
    overdue: bool = False

    def has_open(self, purchase_order_id: UUID) -> bool:
        return any(own.purchase_order_id == purchase_order_id for own in self.open_purchases)

    def awaits_late_goods(self) -> bool:
        return self.state in (AS, AG) and any(own.late for own in self.open_purchases)

    def on_order(self) -> Counter[UUID]:
        """Quantities by product. What has arrived in part counts whole: rather buy the rest later than anything twice."""
        total: Counter[UUID] = Counter()
        for own in self.open_purchases:
            for line in own.lines:
                total[line.product_id] += line.quantity
        return total


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the process manager is told. `lines` are the sales order's; countdowns are in seconds.

    `repurchases`: how often what did not come is bought once more, until a person has to decide.
    """

    new_purchase_order_id: UUID
    lines: tuple[ProductQuantity, ...] = ()
    stock_has_caught_up: bool = False
    hold_parts: bool = False
    first_countdown: float = 2.0
    longest_countdown: float = 240.0
    repurchases: int = 3
    cancel_purchases: CancelPurchases = CancelPurchases.CANCELLED


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The process as it is from now on, the states it entered on the way (none: it stays), and what to tell whom."""

    process: Process
    entered: tuple[State, ...] = ()
    messages: tuple[Message, ...] = ()


# -- refusals ---------------------------------------------------------------------------------------------------------------


class OrderCannotBeDelivered(Conflict):
    """The sales order is not deliverable yet, or was cancelled."""

    code = "order_cannot_be_delivered"

    def __init__(self, reference: str, state: State) -> None:
        why = {
            AS: "yet: it waits for Stock's answer",
            AG: "yet: it waits for goods that are on order",
            CX: "any more: it was cancelled",
        }
        super().__init__(f"Sales order {reference} cannot be delivered {why[state]}.")


class OrderCannotBeCancelled(Conflict):
    """The sales order was delivered."""

    code = "order_cannot_be_cancelled"

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"Sales order {reference} cannot be cancelled any more: it was delivered. Goods that come back are booked as a "
            "stock adjustment."
        )


class OrderCannotBeChanged(Conflict):
    """The sales order was delivered or cancelled."""

    code = "order_cannot_be_changed"

    def __init__(self, reference: str, state: State) -> None:
        super().__init__(f"Sales order {reference} cannot be changed any more: it was {state}. Place another one.")


class NothingToTryAgain(Conflict):
    """The sales order does not wait for Stock's answer."""

    code = "nothing_to_try_again"

    def __init__(self, reference: str, state: State) -> None:
        why = f"it is {state}" if state in (DL, DD, CX) else "what it lacks is on order"
        super().__init__(f"There is nothing to try again for sales order {reference}: {why}.")
