"""The process of a sales order as a table of transitions.

A row reads: in this status, on this message, if every guard holds, enter the next status and do
the actions. At most one row applies: the order of the rows has no meaning.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from orderflow.messaging.messages import UnexpectedMessage
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
)
from sales.contract import SalesOrderCreated
from sales.process_manager.actions import (
    Action,
    cancel,
    change,
    clear_linked_order_overdue,
    clear_overdue,
    close_linked_order,
    deliver,
    flag_linked_order_overdue,
    flag_needs_attention,
    flag_overdue,
    no_message,
    postpone_retry,
    purchase_shortages,
    refuse,
    release_again,
    request_reservation,
    reset_purchase_count,
    retry_now,
    schedule_retry,
    send_reservation_request,
    stay,
    withdraw_purchase_orders,
)
from sales.process_manager.guards import (
    already_flagged,
    already_overdue,
    another_order_overdue,
    automatic_delivery,
    current_revision,
    fully_on_order,
    is_latest,
    is_stale,
    keep_on_cancel,
    keep_unneeded,
    latest_request,
    linked_order_already_closed,
    linked_order_closes,
    linked_order_is_open,
    linked_order_stays_open,
    manual_delivery,
    no_other_order_overdue,
    not_flagged,
    not_overdue,
    older_request,
    older_revision,
    purchase_limit_reached,
    purchase_needed,
    stock_has_caught_up,
    stock_lags,
    withdraw_on_cancel,
    withdraw_unneeded,
)
from sales.process_manager.process import (
    AWAITING_STATUSES,
    CLOSED_STATUSES,
    STORED_STATUSES,
    Cancel,
    Change,
    Decision,
    Deliver,
    Facts,
    NothingToRetry,
    Process,
    Retry,
    RetryReservation,
    SalesOrderCannotBeCancelled,
    SalesOrderCannotBeChanged,
    SalesOrderCannotBeDelivered,
    Status,
    StatusLimitExceeded,
)
from stock.contract import ReservationAccepted, ReservationRejected

Guard = Callable[..., bool]


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One row. `enters`: the statuses entered, in order; none if the status does not change."""

    statuses: tuple[Status, ...]
    messages: tuple[type, ...]
    guards: tuple[Guard, ...]
    enters: tuple[Status, ...]
    actions: tuple[Action, ...]

    def applies(self, process: Process, message: object, facts: Facts) -> bool:
        if process.status not in self.statuses or type(message) not in self.messages:
            return False
        return all(guard(process, message, facts) for guard in self.guards)


def row(
    status: Status | tuple[Status, ...],
    message: type | tuple[type, ...],
    guards: tuple[Guard, ...],
    next_status: Status | tuple[Status, ...],
    *actions: Action,
) -> Transition:
    return Transition(
        statuses=status if isinstance(status, tuple) else (status,),
        messages=message if isinstance(message, tuple) else (message,),
        guards=guards,
        enters=next_status if isinstance(next_status, tuple) else (next_status,),
        actions=actions,
    )


NEW = Status.NEW
AWAITING_STOCK_RESERVATION = Status.AWAITING_STOCK_RESERVATION
AWAITING_GOODS_RECEIVED = Status.AWAITING_GOODS_RECEIVED
DELIVERABLE = Status.DELIVERABLE
DELIVERED = Status.DELIVERED
CANCELLED = Status.CANCELLED

ANY_STATUS = STORED_STATUSES  # every status but NEW
AWAITING = AWAITING_STATUSES  # AWAITING_STOCK_RESERVATION, AWAITING_GOODS_RECEIVED
NOT_AWAITING = (DELIVERABLE, DELIVERED, CANCELLED)
NOT_AWAITING_RESERVATION = (AWAITING_GOODS_RECEIVED, *NOT_AWAITING)
ACCEPTED = (DELIVERABLE, DELIVERED)
NOT_DELIVERABLE = (*AWAITING, CANCELLED)
OPEN = (*AWAITING, DELIVERABLE)
CLOSED = CLOSED_STATUSES  # DELIVERED, CANCELLED
STAY = ()  # the status does not change

CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
EXPECTED_DATE = (PurchaseOrderOverdue, PurchaseOrderRescheduled)

# fmt: off
TRANSITION_GROUPS: dict[str, tuple[Transition, ...]] = {
    "An order is placed": (
        #   status                      message                   guards                                                     next status                 actions
        row(NEW,                        SalesOrderCreated,        (),                                                        AWAITING_STOCK_RESERVATION, request_reservation),
    ),
    "Stock replies": (
        #   status                      message                   guards                                                     next status                 actions
        row(AWAITING,                   ReservationAccepted,      (current_revision, manual_delivery, keep_unneeded),        DELIVERABLE,                no_message("a user can deliver it")),
        row(AWAITING,                   ReservationAccepted,      (current_revision, manual_delivery, withdraw_unneeded),    DELIVERABLE,                withdraw_purchase_orders),
        row(AWAITING,                   ReservationAccepted,      (current_revision, automatic_delivery, keep_unneeded),     (DELIVERABLE, DELIVERED),   deliver),
        row(AWAITING,                   ReservationAccepted,      (current_revision, automatic_delivery, withdraw_unneeded), (DELIVERABLE, DELIVERED),   deliver, withdraw_purchase_orders),
        row(AWAITING,                   ReservationAccepted,      (older_revision,),                                         STAY,                       stay("stale reply")),
        row(ACCEPTED,                   ReservationAccepted,      (),                                                        STAY,                       stay("already accepted")),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected,      (latest_request, purchase_needed),                         AWAITING_GOODS_RECEIVED,    purchase_shortages),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected,      (latest_request, fully_on_order),                          AWAITING_GOODS_RECEIVED,    no_message("the goods are on order")),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected,      (latest_request, purchase_limit_reached, not_flagged),     STAY,                       flag_needs_attention),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected,      (latest_request, purchase_limit_reached, already_flagged), STAY,                       stay("already flagged")),
        row(AWAITING,                   ReservationRejected,      (older_request,),                                          STAY,                       stay("stale reply")),
        row(ACCEPTED,                   ReservationRejected,      (),                                                        STAY,                       stay("already accepted")),
    ),
    "A retry is due": (
        #   status                      message                   guards                                                     next status                 actions
        row(AWAITING_STOCK_RESERVATION, RetryReservation,         (is_latest, stock_has_caught_up),                          STAY,                       send_reservation_request),
        row(AWAITING_STOCK_RESERVATION, RetryReservation,         (is_latest, stock_lags),                                   STAY,                       postpone_retry),
        row(AWAITING_STOCK_RESERVATION, RetryReservation,         (is_stale,),                                               STAY,                       stay("stale retry")),
        row(NOT_AWAITING_RESERVATION,   RetryReservation,         (),                                                        STAY,                       stay("stale retry")),
    ),
    "Purchase reports": (
        #   status                      message                   guards                                                     next status                 actions
        row(AWAITING,                   GoodsReceived,            (linked_order_stays_open,),                                STAY,                       stay("Stock allocates the goods")),
        row(AWAITING_STOCK_RESERVATION, CLOSING,                  (linked_order_closes,),                                    STAY,                       close_linked_order, schedule_retry),
        row(AWAITING_GOODS_RECEIVED,    CLOSING,                  (linked_order_closes,),                                    AWAITING_STOCK_RESERVATION, close_linked_order, schedule_retry),
        row(NOT_AWAITING,               GoodsReceived,            (linked_order_stays_open,),                                STAY,                       stay("Stock allocates the goods")),
        row(NOT_AWAITING,               CLOSING,                  (linked_order_closes,),                                    STAY,                       close_linked_order),
        row(ANY_STATUS,                 CLOSING,                  (linked_order_already_closed,),                            STAY,                       stay("Stock allocates the goods")),
        row(AWAITING,                   PurchaseOrderOverdue,     (linked_order_is_open, not_overdue),                       STAY,                       flag_linked_order_overdue, flag_overdue),
        row(AWAITING,                   PurchaseOrderOverdue,     (linked_order_is_open, already_overdue),                   STAY,                       flag_linked_order_overdue),
        row(AWAITING,                   PurchaseOrderRescheduled, (linked_order_is_open, another_order_overdue),             STAY,                       clear_linked_order_overdue),
        row(AWAITING,                   PurchaseOrderRescheduled, (linked_order_is_open, no_other_order_overdue),            STAY,                       clear_linked_order_overdue, clear_overdue),
        row(AWAITING,                   EXPECTED_DATE,            (linked_order_already_closed,),                            STAY,                       stay("the goods are not awaited")),
        row(NOT_AWAITING,               EXPECTED_DATE,            (),                                                        STAY,                       stay("the goods are not awaited")),
    ),
    "A user decides": (
        #   status                      message                   guards                                                     next status                 actions
        row(DELIVERABLE,                Deliver,                  (),                                                        DELIVERED,                  deliver),
        row(DELIVERED,                  Deliver,                  (),                                                        STAY,                       stay("already delivered")),
        row(NOT_DELIVERABLE,            Deliver,                  (),                                                        STAY,                       refuse(SalesOrderCannotBeDelivered)),
        row(OPEN,                       Cancel,                   (keep_on_cancel,),                                         CANCELLED,                  cancel),
        row(OPEN,                       Cancel,                   (withdraw_on_cancel,),                                     CANCELLED,                  cancel, withdraw_purchase_orders),
        row(CANCELLED,                  Cancel,                   (),                                                        STAY,                       stay("already cancelled")),
        row(DELIVERED,                  Cancel,                   (),                                                        STAY,                       refuse(SalesOrderCannotBeCancelled)),
        row(OPEN,                       Change,                   (),                                                        AWAITING_STOCK_RESERVATION, reset_purchase_count, change, retry_now),
        row(CLOSED,                     Change,                   (),                                                        STAY,                       refuse(SalesOrderCannotBeChanged)),
        row(AWAITING_STOCK_RESERVATION, Retry,                    (),                                                        AWAITING_STOCK_RESERVATION, reset_purchase_count, retry_now),
        row(NOT_AWAITING_RESERVATION,   Retry,                    (),                                                        STAY,                       refuse(NothingToRetry)),
    ),
    "A status limit is exceeded": (
        #   status                      message                   guards                                                     next status                 actions
        row(OPEN,                       StatusLimitExceeded,      (not_overdue,),                                            STAY,                       flag_overdue),
    ),
    "Stock replies about a cancelled order": (
        #   status                      message                   guards                                                     next status                 actions
        row(CANCELLED,                  ReservationAccepted,      (),                                                        STAY,                       release_again),
        row(CANCELLED,                  ReservationRejected,      (),                                                        STAY,                       stay("stale reply")),
    ),
}
# fmt: on
TRANSITIONS = tuple(transition for group in TRANSITION_GROUPS.values() for transition in group)


def decide(process: Process, message: object, facts: Facts) -> Decision:
    """Return what `message` means for this sales order.

    Raises: `UnexpectedMessage` if no transition applies; the errors named in the table.
    """
    for transition in TRANSITIONS:
        if transition.applies(process, message, facts):
            return _take(transition, process, message, facts)
    raise UnexpectedMessage(
        f"No transition for {message} in status {process.status} (revision {process.revision}, "
        f"request number {process.request_number}, "
        f"{len(process.open_purchase_orders)} open purchase orders)."
    )


def _take(transition: Transition, process: Process, message: object, facts: Facts) -> Decision:
    decision = Decision(process=process, entered=transition.enters)
    for action in transition.actions:
        effect = action(decision.process, message, facts)
        decision = replace(
            decision, process=effect.process, messages=(*decision.messages, *effect.messages)
        )
    return replace(decision, process=_entering(transition.enters, decision.process))


def _entering(statuses: tuple[Status, ...], process: Process) -> Process:
    """Entering a status clears the attention flag; overdue goods keep an order overdue."""
    if not statuses:
        return process
    entered = replace(process, status=statuses[-1], needs_attention=False)
    return replace(entered, overdue=entered.awaits_overdue_goods())


def as_text(
    transitions: Iterable[Transition] = TRANSITIONS,
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the transitions in words: status, message, guards, next status, actions."""
    for each in transitions:
        yield (
            ", ".join("–" if status == NEW else status.text for status in each.statuses),
            " / ".join(message.__name__ for message in each.messages),
            ", ".join(guard.__name__.replace("_", " ") for guard in each.guards),
            ", then ".join(status.text for status in each.enters) or "unchanged",
            "; ".join((action.__doc__ or "").splitlines()[0] for action in each.actions),
        )
