"""The process as data: in this state, on this message, when this holds: enter that state, and do that."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from orderflow.messaging.messages import UnexpectedMessage
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
)
from sales.contract import SalesOrderCreated
from sales.process_manager import actions as does
from sales.process_manager import conditions as when
from sales.process_manager.process import (
    AG,
    AS,
    CX,
    DD,
    DL,
    NEW,
    Cancel,
    Change,
    Decision,
    Deliver,
    Facts,
    LimitPassed,
    Process,
    RetryReservation,
    State,
    TryAgain,
)
from stock.contract import ReservationAccepted, ReservationRejected


@dataclass(frozen=True, kw_only=True)
class Row:
    """In one of the states `at`, `on` one of these messages, `when` all that holds: enter these states, in order, and do this."""

    at: tuple[State, ...]
    on: tuple[type, ...]
    when: tuple[Callable[..., bool], ...]
    enters: tuple[State, ...]
    does: Callable[..., Decision]

    def applies(self, process: Process, message: object, facts: Facts) -> bool:
        if process.state not in self.at or type(message) not in self.on:
            return False
        return all(condition(process, message, facts) for condition in self.when)


def _row(
    at: tuple[State, ...],
    on: type | tuple[type, ...],
    *conditions: Callable[..., bool],
    enters: tuple[State, ...] = (),
    does: Callable[..., Decision],
) -> Row:
    return Row(at=at, on=on if isinstance(on, tuple) else (on,), when=conditions, enters=enters, does=does)


CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)  # what can close a purchase order
DATES = (PurchaseOrderOverdue, PurchaseOrderExpected)

# The rows exclude each other: their order means nothing.
SECTIONS: dict[str, tuple[Row, ...]] = {
    "An order is placed": (_row((NEW,), SalesOrderCreated, enters=(AS,), does=does.request_reservation),),
    "Stock answers": (
        _row(
            (AS, AG), ReservationAccepted, when.current_revision, when.manual_delivery, enters=(DL,), does=does.make_deliverable
        ),
        _row(
            (AS, AG),
            ReservationAccepted,
            when.current_revision,
            when.automatic_delivery,
            enters=(DL, DD),
            does=does.deliver_at_once,
        ),
        _row((AS, AG), ReservationAccepted, when.older_revision, does=does.ignore_older_answer),
        _row((DL, DD), (ReservationAccepted, ReservationRejected), does=does.ignore_already_accepted),
        _row(
            (AS,),
            ReservationRejected,
            when.latest_request,
            when.something_is_to_be_bought,
            enters=(AG,),
            does=does.buy_what_is_missing,
        ),
        _row(
            (AS,),
            ReservationRejected,
            when.latest_request,
            when.all_is_on_order,
            enters=(AG,),
            does=does.wait_for_what_is_on_order,
        ),
        _row((AS,), ReservationRejected, when.latest_request, when.bought_in_vain, does=does.call_for_attention),
        _row((AS, AG), ReservationRejected, when.older_request, does=does.ignore_older_answer),
    ),
    "The timer rings": (
        _row((AS,), RetryReservation, when.stock_has_caught_up, does=does.ask_the_question),
        _row((AS,), RetryReservation, when.stock_lags, does=does.ask_again_later),
        _row((AS,), RetryReservation, when.overtaken, does=does.ignore_answered_since),
        _row((AG, DL, DD, CX), RetryReservation, does=does.ignore_answered_since),
    ),
    "Purchase tells": (
        _row((AS, AG), GoodsReceived, when.own_more_to_come, does=does.leave_it_to_stock),
        _row((AS,), CLOSING, when.own_closed, does=does.retry_after_the_countdown),
        _row((AG,), CLOSING, when.own_closed, enters=(AS,), does=does.retry_after_the_countdown),
        _row((DL, DD, CX), GoodsReceived, when.own_more_to_come, does=does.ignore_not_awaited),
        _row((DL, DD, CX), CLOSING, when.own_closed, does=does.mark_closed),
        _row((AS, AG, DL, DD, CX), CLOSING, when.own_was_closed_before, does=does.ignore_not_awaited),
        _row((AS, AG), PurchaseOrderOverdue, when.own_is_open, does=does.mark_late),
        _row((AS, AG), PurchaseOrderExpected, when.own_is_open, does=does.expect_later),
        _row((AS, AG), DATES, when.own_was_closed_before, does=does.ignore_not_awaited),
        _row((DL, DD, CX), DATES, does=does.ignore_not_awaited),
    ),
    "A person decides": (
        _row((DL,), Deliver, enters=(DD,), does=does.deliver),
        _row((DD,), Deliver, does=does.answer_as_before),
        _row((AS, AG, CX), Deliver, does=does.refuse_delivery),
        _row((AS, AG, DL), Cancel, enters=(CX,), does=does.cancel),
        _row((CX,), Cancel, does=does.answer_as_before),
        _row((DD,), Cancel, does=does.refuse_cancellation),
        _row((AS, AG, DL), Change, enters=(AS,), does=does.change),
        _row((DD, CX), Change, does=does.refuse_change),
        _row((AS,), TryAgain, enters=(AS,), does=does.try_again),
        _row((AG, DL, DD, CX), TryAgain, does=does.refuse_to_try_again),
    ),
    "The clock passes a limit": (_row((AS, AG, DL), LimitPassed, when.not_marked_yet, does=does.mark_overdue),),
    "Stock answers about an order that was cancelled": (
        _row((CX,), ReservationAccepted, does=does.release_again),
        _row((CX,), ReservationRejected, does=does.ignore_answered_since),
    ),
}
TABLE = tuple(row for rows in SECTIONS.values() for row in rows)


def decide(process: Process, message: object, facts: Facts) -> Decision:
    """What `message` means for this sales order. Raises `UnexpectedMessage`, and the refusals of what people ask for."""
    for row in TABLE:
        if row.applies(process, message, facts):
            decision = row.does(process, message, facts)
            return replace(decision, process=_entering(row.enters, decision.process), entered=row.enters)
    raise UnexpectedMessage(
        f"A sales order that is {process.state} (revision {process.revision}, request {process.request}, "
        f"{len(process.open_purchases)} open purchase orders) has no place for {message}."
    )


def _entering(states: tuple[State, ...], process: Process) -> Process:
    """Whoever moves on has had the attention it needed, and is late only if goods are that it still awaits."""
    if not states:
        return process
    entered = replace(process, state=states[-1], needs_attention=False)
    return replace(entered, overdue=entered.awaits_late_goods())


def as_text(rows: Iterable[Row] = TABLE) -> Iterator[tuple[str, str, str, str]]:
    """Rows in words: state, on, next, does. The state that is not stored is a dash."""
    for row in rows:
        on = ", ".join([" / ".join(each.__name__ for each in row.on), *(_words(condition) for condition in row.when)])
        yield _names(row.at), on, _names(row.enters, joined=", then ") or "stays", _words(row.does)


def _names(states: tuple[State, ...], *, joined: str = ", ") -> str:
    short = {NEW: "–", AS: "AS", AG: "AG", DL: "DL", DD: "DD", CX: "CX"}
    return joined.join(short[state] for state in states)


def _words(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").splitlines()[0]
