"""The process of a sales order as a table of transitions.

A row reads: in this status, on this message, if every guard holds, enter the next status and do
the actions. At most one row applies to a message, so the order of the rows has no meaning.
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
    deliver,
    ignore,
    mark_as_needing_attention,
    mark_linked_purchase_order_as_closed,
    mark_linked_purchase_order_as_not_overdue,
    mark_linked_purchase_order_as_overdue,
    mark_sales_order_as_not_overdue,
    mark_sales_order_as_overdue,
    no_message,
    postpone_retry,
    purchase_uncovered_shortages,
    reject,
    release_again,
    reset_purchase_count,
    retry_now,
    schedule_retry,
    send_first_reservation_request,
    send_reservation_request,
    withdraw_purchase_orders,
)
from sales.process_manager.guards import (
    a_shortage_is_uncovered,
    another_linked_purchase_order_is_overdue,
    delivery_is_automatic,
    delivery_is_manual,
    every_shortage_is_covered,
    linked_purchase_order_closes,
    linked_purchase_order_is_already_closed,
    linked_purchase_order_is_open,
    linked_purchase_order_stays_open,
    no_other_linked_purchase_order_is_overdue,
    purchase_limit_is_not_reached,
    purchase_limit_is_reached,
    purchase_orders_are_kept_on_cancel,
    purchase_orders_are_withdrawn_on_cancel,
    request_is_current,
    request_is_stale,
    retry_is_current,
    retry_is_stale,
    revision_is_current,
    revision_is_stale,
    sales_order_already_needs_attention,
    sales_order_does_not_need_attention,
    sales_order_is_already_overdue,
    sales_order_is_not_overdue,
    stock_has_caught_up,
    stock_is_lagging,
    unneeded_purchase_orders_are_kept,
    unneeded_purchase_orders_are_withdrawn,
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
    RetryNow,
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
    """One row of the table.

    `statuses` and `messages`: the row applies in each of these statuses, to each of these message
    types. `guards`: all must hold. `enters`: the statuses entered, in order; empty if no status is
    entered. The entered status can be the same as before. `actions`: done in order.
    """

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

ANY_STATUS = STORED_STATUSES  # every status except NEW
AWAITING_STOCK_OR_GOODS = AWAITING_STATUSES
AWAITING_OR_CANCELLED = (*AWAITING_STATUSES, CANCELLED)
NOT_AWAITING_STOCK_RESERVATION = (AWAITING_GOODS_RECEIVED, DELIVERABLE, *CLOSED_STATUSES)
OPEN = (*AWAITING_STATUSES, DELIVERABLE)
DELIVERABLE_OR_DELIVERED = (DELIVERABLE, DELIVERED)
DELIVERABLE_OR_CLOSED = (DELIVERABLE, *CLOSED_STATUSES)
CLOSED = CLOSED_STATUSES
UNCHANGED = ()

RECEIPT_OR_CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
OVERDUE_OR_RESCHEDULED = (PurchaseOrderOverdue, PurchaseOrderRescheduled)

# fmt: off
TRANSITION_GROUPS: dict[str, tuple[Transition, ...]] = {
    "An order is placed": (
        #   status message            guards next status                 actions
        row(NEW,   SalesOrderCreated, (),    AWAITING_STOCK_RESERVATION, send_first_reservation_request),
    ),
    "Stock replies": (
        #   status                      message              guards                                                                                                         next status               actions
        row(AWAITING_STOCK_OR_GOODS,    ReservationAccepted, (revision_is_current, delivery_is_manual, unneeded_purchase_orders_are_kept),                                  DELIVERABLE,              no_message("a user can deliver it")),
        row(AWAITING_STOCK_OR_GOODS,    ReservationAccepted, (revision_is_current, delivery_is_manual, unneeded_purchase_orders_are_withdrawn),                             DELIVERABLE,              withdraw_purchase_orders),
        row(AWAITING_STOCK_OR_GOODS,    ReservationAccepted, (revision_is_current, delivery_is_automatic, unneeded_purchase_orders_are_kept),                               (DELIVERABLE, DELIVERED), deliver),
        row(AWAITING_STOCK_OR_GOODS,    ReservationAccepted, (revision_is_current, delivery_is_automatic, unneeded_purchase_orders_are_withdrawn),                          (DELIVERABLE, DELIVERED), deliver, withdraw_purchase_orders),
        row(AWAITING_STOCK_OR_GOODS,    ReservationAccepted, (revision_is_stale,),                                                                                          UNCHANGED,                ignore("stale reply")),
        row(DELIVERABLE_OR_DELIVERED,   ReservationAccepted, (),                                                                                                            UNCHANGED,                ignore("already accepted")),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected, (request_is_current, a_shortage_is_uncovered, purchase_limit_is_not_reached),                                  AWAITING_GOODS_RECEIVED,  purchase_uncovered_shortages),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected, (request_is_current, every_shortage_is_covered),                                                               AWAITING_GOODS_RECEIVED,  no_message("the shortages are on order")),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected, (request_is_current, a_shortage_is_uncovered, purchase_limit_is_reached, sales_order_does_not_need_attention), UNCHANGED,                mark_as_needing_attention),
        row(AWAITING_STOCK_RESERVATION, ReservationRejected, (request_is_current, a_shortage_is_uncovered, purchase_limit_is_reached, sales_order_already_needs_attention), UNCHANGED,                ignore("already needs attention")),
        row(AWAITING_STOCK_OR_GOODS,    ReservationRejected, (request_is_stale,),                                                                                           UNCHANGED,                ignore("stale reply")),
        row(DELIVERABLE_OR_DELIVERED,   ReservationRejected, (),                                                                                                            UNCHANGED,                ignore("already accepted")),
    ),
    "A retry is due": (
        #   status                          message           guards                                   next status actions
        row(AWAITING_STOCK_RESERVATION,     RetryReservation, (retry_is_current, stock_has_caught_up), UNCHANGED,  send_reservation_request),
        row(AWAITING_STOCK_RESERVATION,     RetryReservation, (retry_is_current, stock_is_lagging),    UNCHANGED,  postpone_retry),
        row(AWAITING_STOCK_RESERVATION,     RetryReservation, (retry_is_stale,),                       UNCHANGED,  ignore("stale retry")),
        row(NOT_AWAITING_STOCK_RESERVATION, RetryReservation, (),                                      UNCHANGED,  ignore("stale retry")),
    ),
    "Purchase reports": (
        #   status                      message                   guards                                                                      next status                 actions
        row(ANY_STATUS,                 GoodsReceived,            (linked_purchase_order_stays_open,),                                        UNCHANGED,                  ignore("Stock allocates the goods")),
        row(AWAITING_STOCK_RESERVATION, RECEIPT_OR_CLOSING,       (linked_purchase_order_closes,),                                            UNCHANGED,                  mark_linked_purchase_order_as_closed, schedule_retry),
        row(AWAITING_GOODS_RECEIVED,    RECEIPT_OR_CLOSING,       (linked_purchase_order_closes,),                                            AWAITING_STOCK_RESERVATION, mark_linked_purchase_order_as_closed, schedule_retry),
        row(DELIVERABLE_OR_CLOSED,      RECEIPT_OR_CLOSING,       (linked_purchase_order_closes,),                                            UNCHANGED,                  mark_linked_purchase_order_as_closed),
        row(ANY_STATUS,                 RECEIPT_OR_CLOSING,       (linked_purchase_order_is_already_closed,),                                 UNCHANGED,                  ignore("linked purchase order already closed")),
        row(AWAITING_STOCK_OR_GOODS,    PurchaseOrderOverdue,     (linked_purchase_order_is_open, sales_order_is_not_overdue),                UNCHANGED,                  mark_linked_purchase_order_as_overdue, mark_sales_order_as_overdue),
        row(AWAITING_STOCK_OR_GOODS,    PurchaseOrderOverdue,     (linked_purchase_order_is_open, sales_order_is_already_overdue),            UNCHANGED,                  mark_linked_purchase_order_as_overdue),
        row(AWAITING_STOCK_OR_GOODS,    PurchaseOrderRescheduled, (linked_purchase_order_is_open, another_linked_purchase_order_is_overdue),  UNCHANGED,                  mark_linked_purchase_order_as_not_overdue),
        row(AWAITING_STOCK_OR_GOODS,    PurchaseOrderRescheduled, (linked_purchase_order_is_open, no_other_linked_purchase_order_is_overdue), UNCHANGED,                  mark_linked_purchase_order_as_not_overdue, mark_sales_order_as_not_overdue),
        row(AWAITING_STOCK_OR_GOODS,    OVERDUE_OR_RESCHEDULED,   (linked_purchase_order_is_already_closed,),                                 UNCHANGED,                  ignore("the goods are not awaited")),
        row(DELIVERABLE_OR_CLOSED,      OVERDUE_OR_RESCHEDULED,   (),                                                                         UNCHANGED,                  ignore("the goods are not awaited")),
    ),
    "A user decides": (
        #   status                          message   guards                                      next status                 actions
        row(DELIVERABLE,                    Deliver,  (),                                         DELIVERED,                  deliver),
        row(DELIVERED,                      Deliver,  (),                                         UNCHANGED,                  ignore("already delivered")),
        row(AWAITING_OR_CANCELLED,          Deliver,  (),                                         UNCHANGED,                  reject(SalesOrderCannotBeDelivered)),
        row(OPEN,                           Cancel,   (purchase_orders_are_kept_on_cancel,),      CANCELLED,                  cancel),
        row(OPEN,                           Cancel,   (purchase_orders_are_withdrawn_on_cancel,), CANCELLED,                  cancel, withdraw_purchase_orders),
        row(CANCELLED,                      Cancel,   (),                                         UNCHANGED,                  ignore("already cancelled")),
        row(DELIVERED,                      Cancel,   (),                                         UNCHANGED,                  reject(SalesOrderCannotBeCancelled)),
        row(OPEN,                           Change,   (),                                         AWAITING_STOCK_RESERVATION, reset_purchase_count, change, retry_now),
        row(CLOSED,                         Change,   (),                                         UNCHANGED,                  reject(SalesOrderCannotBeChanged)),
        row(AWAITING_STOCK_RESERVATION,     RetryNow, (),                                         AWAITING_STOCK_RESERVATION, reset_purchase_count, retry_now),
        row(NOT_AWAITING_STOCK_RESERVATION, RetryNow, (),                                         UNCHANGED,                  reject(NothingToRetry)),
    ),
    "A status limit is exceeded": (
        #   status message              guards                         next status actions
        row(OPEN,  StatusLimitExceeded, (sales_order_is_not_overdue,), UNCHANGED,  mark_sales_order_as_overdue),
    ),
    "Stock replies about a cancelled order": (
        #   status     message              guards next status actions
        row(CANCELLED, ReservationAccepted, (),    UNCHANGED,  release_again),
        row(CANCELLED, ReservationRejected, (),    UNCHANGED,  ignore("stale reply")),
    ),
}
# fmt: on
TRANSITIONS = tuple(transition for group in TRANSITION_GROUPS.values() for transition in group)


def decide(process: Process, message: object, facts: Facts) -> Decision:
    """Return the decision of the transition that applies to the message.

    Raises: `UnexpectedMessage` if no transition applies; `ConflictError` if the transition
    rejects a request of a user.
    """
    for transition in TRANSITIONS:
        if transition.applies(process, message, facts):
            return _decision(transition, process, message, facts)
    raise UnexpectedMessage(
        f"No transition for {message} in status {process.status} (revision {process.revision}, "
        f"request number {process.request_number}, "
        f"{len(process.open_purchase_orders)} open purchase orders)."
    )


def _decision(transition: Transition, process: Process, message: object, facts: Facts) -> Decision:
    decision = Decision(process=process, entered=transition.enters)
    for action in transition.actions:
        effect = action(decision.process, message, facts)
        decision = replace(
            decision, process=effect.process, messages=(*decision.messages, *effect.messages)
        )
    return replace(decision, process=_enter(transition.enters, decision.process))


def _enter(statuses: tuple[Status, ...], process: Process) -> Process:
    """Enter the last of these statuses, if any.

    This clears `needs_attention`, and sets `overdue` only if the order awaits overdue goods.
    """
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
