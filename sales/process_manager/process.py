"""The values of the process manager: process, requests, facts, decision, errors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Message


class Status(StrEnum):
    NEW = "new"  # never stored: the order is being placed
    AWAITING_STOCK_RESERVATION = "awaiting_stock_reservation"
    AWAITING_GOODS_RECEIVED = "awaiting_goods_received"
    DELIVERABLE = "deliverable"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"

    @property
    def text(self) -> str:
        """The status in running text: "awaiting goods received"."""
        return self.replace("_", " ")

    @property
    def label(self) -> str:
        """The status as a label: "Awaiting goods received"."""
        return self.text.capitalize()


STORED_STATUSES = tuple(status for status in Status if status != Status.NEW)
AWAITING_STATUSES = (Status.AWAITING_STOCK_RESERVATION, Status.AWAITING_GOODS_RECEIVED)
CLOSED_STATUSES = (Status.DELIVERED, Status.CANCELLED)


class WithdrawPolicy(StrEnum):
    """When Sales withdraws the open linked purchase orders of a sales order."""

    NEVER = "never"
    ON_CANCEL = "on_cancel"  # when the sales order is cancelled
    WHEN_UNNEEDED = "when_unneeded"  # also when the order is fully reserved while they are open


@dataclass(frozen=True, kw_only=True)
class RetryReservation(Command):
    """Request the reservation again after `countdown` seconds, if Stock has caught up by then.

    `request_number` is the number that the reservation request will have. A retry with an older
    number is stale.
    """

    sales_order_id: UUID
    request_number: int
    countdown: float

    @property
    def key(self) -> UUID:
        return self.sales_order_id


# -- requests of users and of the overdue check: decided at once, never published ----------------


@dataclass(frozen=True, kw_only=True)
class Deliver:
    reference: str


@dataclass(frozen=True, kw_only=True)
class Cancel:
    reference: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """Replace the lines of the sales order by `lines`."""

    reference: str
    lines: tuple[ProductQuantity, ...]


@dataclass(frozen=True, kw_only=True)
class RetryNow:
    """Request the reservation again and count purchases from 0."""

    reference: str


@dataclass(frozen=True, kw_only=True)
class StatusLimitExceeded:
    """The sales order has been in its status for longer than the status limit."""


# -- process, facts and decision -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OpenPurchaseOrder:
    """A linked purchase order that is not closed, and the quantities ordered with it."""

    purchase_order_id: UUID
    lines: tuple[ProductQuantity, ...]
    overdue: bool = False


@dataclass(frozen=True, kw_only=True)
class Process:
    """The stored process of one sales order.

    `automatic`: deliver the order when it is fully reserved. `revision`: version of the lines.
    `request_number`: number of the latest reservation request, sent or scheduled.
    `purchase_count`: purchase orders created since the last user decision.
    `open_purchase_orders`: linked purchase orders that are not closed, oldest first.
    """

    sales_order_id: UUID
    automatic: bool
    priority: int
    placed_at: datetime
    status: Status = Status.NEW
    revision: int = 1
    request_number: int = 0
    purchase_count: int = 0
    open_purchase_orders: tuple[OpenPurchaseOrder, ...] = ()
    needs_attention: bool = False
    overdue: bool = False

    def has_open(self, purchase_order_id: UUID) -> bool:
        return any(
            order.purchase_order_id == purchase_order_id for order in self.open_purchase_orders
        )

    def awaits_overdue_goods(self) -> bool:
        return self.status in AWAITING_STATUSES and any(
            order.overdue for order in self.open_purchase_orders
        )

    def on_order(self) -> Counter[UUID]:
        """Return the quantities on order by product.

        An open purchase order counts in full, also after a partial receipt: Sales cannot know how
        much of the receipt Stock had recorded when it replied. If too much is
        counted, a purchase is delayed until the purchase order closes. If too little were counted,
        the same quantity would be purchased twice.
        """
        total: Counter[UUID] = Counter()
        for order in self.open_purchase_orders:
            for line in order.lines:
                total[line.product_id] += line.quantity
        return total


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The inputs of a decision besides the process and the message.

    `new_purchase_order_id`: for the purchase order that the decision may create. `lines`: the
    lines of the sales order. `stock_has_caught_up`: Stock has handled every message that closed a
    linked purchase order. `allow_partial`: a line may be reserved in part. Countdowns are in
    seconds. `max_repurchases`: purchase orders that may follow the first one before the order
    needs attention.
    """

    new_purchase_order_id: UUID
    lines: tuple[ProductQuantity, ...] = ()
    stock_has_caught_up: bool = False
    allow_partial: bool = False
    retry_countdown: float = 2.0
    retry_countdown_max: float = 240.0
    max_repurchases: int = 3
    withdraw_policy: WithdrawPolicy = WithdrawPolicy.ON_CANCEL


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The process after a message, and the messages to publish.

    `entered`: the statuses entered, in order; empty if no status was entered. The entered status
    can be the same as before.
    """

    process: Process
    entered: tuple[Status, ...] = ()
    messages: tuple[Message, ...] = ()


# -- errors --------------------------------------------------------------------------------------


class _RejectedInStatus(ConflictError):
    """The status of the sales order does not allow a request.

    `verb`: the request, as in "cannot be cancelled". `advice`: what to do, by status.
    """

    verb: ClassVar[str]
    advice: ClassVar[Mapping[Status, str]]

    def __init__(self, reference: str, status: Status) -> None:
        super().__init__(
            f"Sales order {reference} cannot be {self.verb}: its status is {status.text}. "
            f"{self.advice[status]} No changes were made."
        )


class SalesOrderCannotBeDelivered(_RejectedInStatus):
    """The sales order is not deliverable yet, or it is cancelled."""

    code = "sales_order_cannot_be_delivered"
    verb = "delivered"
    advice = {
        Status.AWAITING_STOCK_RESERVATION: "Wait until Stock has reserved every line.",
        Status.AWAITING_GOODS_RECEIVED: "Wait until the goods on order are received.",
        Status.CANCELLED: "Place a new sales order.",
    }


class SalesOrderCannotBeCancelled(_RejectedInStatus):
    """The sales order is delivered."""

    code = "sales_order_cannot_be_cancelled"
    verb = "cancelled"
    advice = {Status.DELIVERED: "Record returned goods as a stock adjustment."}


class SalesOrderCannotBeChanged(_RejectedInStatus):
    """The sales order is delivered or cancelled."""

    code = "sales_order_cannot_be_changed"
    verb = "changed"
    advice = dict.fromkeys(CLOSED_STATUSES, "Place a new sales order.")


class NothingToRetry(_RejectedInStatus):
    """The sales order is not awaiting a stock reservation."""

    code = "nothing_to_retry"
    verb = "retried"
    advice = dict.fromkeys(
        (Status.AWAITING_GOODS_RECEIVED, Status.DELIVERABLE, *CLOSED_STATUSES),
        "Only orders awaiting stock reservation can be retried.",
    )
