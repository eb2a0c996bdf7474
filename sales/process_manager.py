"""Decides what happens next to a sales order. Pure: what it cannot know (ids, settings, how far Stock is) comes in as `Facts`.

`TABLE` is the whole process. `decide()` finds the one row for a state and a message; a pair that no row names is an
`UnexpectedMessage`, never silence. README shows the table, and a test keeps the two equal.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Message, UnexpectedMessage
from orderflow.refusals import Conflict
from purchase.contract import CreatePurchaseOrder, GoodsReceived, PeggedQuantity
from sales.contract import SalesOrderCreated, SalesOrderDelivered
from stock.contract import MakeReservation, ReservationAccepted, ReservationRejected, ShipReservation


class State(StrEnum):
    NEW = "new"  # never stored: the order is just being placed
    AWAITING_STOCK_RESERVATION = "awaiting_stock_reservation"
    AWAITING_GOODS_RECEIVED = "awaiting_goods_received"
    DELIVERABLE = "deliverable"
    DELIVERED = "delivered"


NEW, AS, AG, DL, DD = State


@dataclass(frozen=True, kw_only=True)
class RetryReservation(Command):
    """The timer: ask whether Stock has caught up and, once it has, for the reservation. `countdown` is in seconds."""

    sales_order_id: UUID
    countdown: float

    @property
    def key(self) -> UUID:
        return self.sales_order_id


@dataclass(frozen=True, kw_only=True)
class Deliver:
    """A person says: deliver. Not a message; the person gets the answer at once."""

    reference: str


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is remembered of the process of one sales order.

    `request`: the number of the latest question to Stock. `open_purchases`: its own purchase orders that are not closed.
    """

    sales_order_id: UUID
    automatic: bool
    priority: int
    placed_at: datetime
    state: State = NEW
    revision: int = 1
    request: int = 0
    open_purchases: frozenset[UUID] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the process manager is told. `lines` are the sales order's; countdowns are in seconds."""

    new_purchase_order_id: UUID
    lines: tuple[ProductQuantity, ...] = ()
    stock_has_caught_up: bool = False
    hold_parts: bool = False
    first_countdown: float = 2.0
    longest_countdown: float = 240.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The process as it is from now on, the states it entered on the way (none: it stays), and what to tell whom."""

    process: Process
    entered: tuple[State, ...] = ()
    messages: tuple[Message, ...] = ()


class OrderCannotBeDelivered(Conflict):
    code = "order_cannot_be_delivered"

    def __init__(self, reference: str, state: State) -> None:
        waits_for = "Stock's answer" if state == AS else "goods that are on order"
        super().__init__(f"Sales order {reference} cannot be delivered yet: it waits for {waits_for}.")


def decide(process: Process, message: object, facts: Facts) -> Decision:
    """What `message` means for this sales order. Raises `UnexpectedMessage`, `OrderCannotBeDelivered`."""
    for row in TABLE:
        if row.applies(process, message, facts):
            decision = row.does(process, message, facts)
            state = row.enters[-1] if row.enters else process.state
            return replace(decision, process=replace(decision.process, state=state), entered=row.enters)
    raise UnexpectedMessage(
        f"A sales order that is {process.state} (request {process.request}, {len(process.open_purchases)} open purchase "
        f"orders) has no place for {message}."
    )


# -- conditions: their first lines are the words of the table -------------------------------------------------------------


def current_revision(process: Process, answer: ReservationAccepted, facts: Facts) -> bool:
    """current revision"""
    return answer.revision == process.revision


def latest_request(process: Process, answer: ReservationRejected, facts: Facts) -> bool:
    """latest request"""
    return (answer.revision, answer.request) == (process.revision, process.request)


def nothing_on_order(process: Process, message: object, facts: Facts) -> bool:
    """no own purchase order open"""
    return not process.open_purchases


def automatic_delivery(process: Process, message: object, facts: Facts) -> bool:
    """automatic delivery"""
    return process.automatic


def manual_delivery(process: Process, message: object, facts: Facts) -> bool:
    """manual delivery"""
    return not process.automatic


def stock_lags(process: Process, message: object, facts: Facts) -> bool:
    """Stock lags"""
    return not facts.stock_has_caught_up


def stock_has_caught_up(process: Process, message: object, facts: Facts) -> bool:
    """Stock has caught up"""
    return facts.stock_has_caught_up


def more_to_come(process: Process, received: GoodsReceived, facts: Facts) -> bool:
    """own purchase order, more to come"""
    return not received.complete


def own_is_closed(process: Process, received: GoodsReceived, facts: Facts) -> bool:
    """own purchase order closed"""
    return received.complete


def last_own_is_closed(process: Process, received: GoodsReceived, facts: Facts) -> bool:
    """own purchase order closed, the last one"""
    return received.complete and process.open_purchases == {received.purchase_order_id}


# -- actions: their first lines are the words of the table ----------------------------------------------------------------


def request_reservation(process: Process, message: object, facts: Facts) -> Decision:
    """MakeReservation(request + 1)"""
    asked = replace(process, request=process.request + 1)
    question = MakeReservation(
        reservation_id=asked.sales_order_id,
        revision=asked.revision,
        request=asked.request,
        lines=facts.lines,
        priority=asked.priority,
        placed_at=asked.placed_at,
        hold_parts=facts.hold_parts,
    )
    return Decision(process=asked, messages=(question,))


def make_deliverable(process: Process, message: object, facts: Facts) -> Decision:
    """a person may deliver it"""
    return Decision(process=process)


def deliver(process: Process, message: object, facts: Facts) -> Decision:
    """SalesOrderDelivered, ShipReservation"""
    delivered = SalesOrderDelivered(sales_order_id=process.sales_order_id)
    return Decision(process=process, messages=(delivered, ShipReservation(reservation_id=process.sales_order_id)))


def buy_what_is_missing(process: Process, rejected: ReservationRejected, facts: Facts) -> Decision:
    """new random purchase order id; CreatePurchaseOrder(what is missing, pegged)"""
    order = CreatePurchaseOrder(
        purchase_order_id=facts.new_purchase_order_id,
        requester_id=process.sales_order_id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity, bought_for=process.sales_order_id)
            for line in rejected.missing
        ),
    )
    return Decision(process=replace(process, open_purchases=frozenset({order.purchase_order_id})), messages=(order,))


def ask_again_later(process: Process, retry: RetryReservation, facts: Facts) -> Decision:
    """RetryReservation, countdown doubled up to a limit"""
    countdown = min(2 * retry.countdown, facts.longest_countdown)
    return Decision(process=process, messages=(replace(retry, countdown=countdown),))


def retry_after_the_countdown(process: Process, received: GoodsReceived, facts: Facts) -> Decision:
    """marked; RetryReservation after the countdown"""
    retry = RetryReservation(sales_order_id=process.sales_order_id, countdown=facts.first_countdown)
    return Decision(process=_marked_closed(process, received), messages=(retry,))


def mark_closed(process: Process, received: GoodsReceived, facts: Facts) -> Decision:
    """ignored: already accepted; marked"""
    return Decision(process=_marked_closed(process, received))


def leave_it_to_stock(process: Process, message: object, facts: Facts) -> Decision:
    """nothing: Stock serves it"""
    return Decision(process=process)


def ignore_already_accepted(process: Process, message: object, facts: Facts) -> Decision:
    """ignored: already accepted"""
    return Decision(process=process)


def answer_as_before(process: Process, message: object, facts: Facts) -> Decision:
    """the same answer as before, nothing published"""
    return Decision(process=process)


def refuse_delivery(process: Process, asked: Deliver, facts: Facts) -> Decision:
    """refused: 409 with the reason"""
    raise OrderCannotBeDelivered(asked.reference, process.state)


def _marked_closed(process: Process, received: GoodsReceived) -> Process:
    return replace(process, open_purchases=process.open_purchases - {received.purchase_order_id})


# -- the table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """In one of the states `at`, `on` this message, `when` all that holds: enter these states, in order, and do this."""

    at: tuple[State, ...]
    on: type
    when: tuple[Callable[..., bool], ...] = ()
    enters: tuple[State, ...] = field(default=())
    does: Callable[..., Decision]

    def applies(self, process: Process, message: object, facts: Facts) -> bool:
        if process.state not in self.at or type(message) is not self.on:
            return False
        return all(condition(process, message, facts) for condition in self.when)


TABLE = (
    Row(at=(NEW,), on=SalesOrderCreated, enters=(AS,), does=request_reservation),
    Row(at=(AS, AG), on=ReservationAccepted, when=(current_revision, manual_delivery), enters=(DL,), does=make_deliverable),
    Row(at=(AS, AG), on=ReservationAccepted, when=(current_revision, automatic_delivery), enters=(DL, DD), does=deliver),
    Row(at=(AS,), on=ReservationRejected, when=(latest_request, nothing_on_order), enters=(AG,), does=buy_what_is_missing),
    Row(at=(AS,), on=RetryReservation, when=(stock_lags,), does=ask_again_later),
    Row(at=(AS,), on=RetryReservation, when=(stock_has_caught_up,), does=request_reservation),
    Row(at=(AG,), on=GoodsReceived, when=(more_to_come,), does=leave_it_to_stock),
    Row(at=(AG,), on=GoodsReceived, when=(last_own_is_closed,), enters=(AS,), does=retry_after_the_countdown),
    Row(at=(DL,), on=Deliver, enters=(DD,), does=deliver),
    Row(at=(DL, DD), on=ReservationAccepted, does=ignore_already_accepted),
    Row(at=(DL, DD), on=GoodsReceived, when=(more_to_come,), does=ignore_already_accepted),
    Row(at=(DL, DD), on=GoodsReceived, when=(own_is_closed,), does=mark_closed),
    Row(at=(DL, DD), on=RetryReservation, does=ignore_already_accepted),
    Row(at=(DD,), on=Deliver, does=answer_as_before),
    Row(at=(AS, AG), on=Deliver, does=refuse_delivery),
)


def table_as_text() -> Iterator[tuple[str, str, str, str]]:
    """The table in words: state, on, next, does. The state that is not stored is a dash."""
    for row in TABLE:
        on = ", ".join([row.on.__name__, *(_words(condition) for condition in row.when)])
        yield _names(row.at), on, _names(row.enters, joined=", then ") or "stays", _words(row.does)


def _names(states: tuple[State, ...], *, joined: str = ", ") -> str:
    short = {NEW: "–", AS: "AS", AG: "AG", DL: "DL", DD: "DD"}
    return joined.join(short[state] for state in states)


def _words(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").splitlines()[0]
