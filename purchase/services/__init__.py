"""What can be done with purchase orders, each in one transaction.

People create, receive, cancel and close them and say when they are expected; a batch of messages, or the clock, changes them too.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.database import by_id, once_more_if_taken, refuse_taken_references
from orderflow.messaging.messages import Received, UnexpectedMessage
from orderflow.refusals import Conflict, Refused
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder, PeggedQuantity, ReverseReceipt
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from purchase.receiving import Status
from purchase.services.work import (
    Arrival,
    KeptElsewhere,
    NoSuchPurchaseOrder,
    PurchaseOrderEnded,
    ReceiptTaken,
    Work,
    made_up_reference,
)

__all__ = [
    "Arrival",
    "ExpectedDateOutOfRange",
    "KeptElsewhere",
    "NewPurchaseOrder",
    "NoSuchPurchaseOrder",
    "PurchaseOrderEnded",
    "PurchaseOrderTaken",
    "ReceiptTaken",
    "cancel_purchase_orders",
    "carry_out",
    "close_short",
    "create_purchase_orders",
    "expect_goods",
    "mark_overdue",
    "receive_goods",
    "take",
]

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # what is beyond was mistyped
MARKED_AT_ONCE = 500  # purchase orders that are marked overdue in one transaction

PeggedLines = dict[tuple[UUID, UUID | None], int]  # quantities by product and peg


@dataclass(frozen=True, kw_only=True)
class NewPurchaseOrder:
    """A purchase order to create. What is not given is made up: an id, a reference from it, and from the lead time the date."""

    lines: Sequence[PeggedQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""
    expected_at: datetime | None = None
    elsewhere: bool = False


class PurchaseOrderTaken(Conflict):
    """The id or the reference belongs to another purchase order."""

    code = "purchase_order_taken"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is another purchase order with the {what}. Nothing was ordered: choose a different one.")


class ExpectedDateOutOfRange(Refused):
    """Goods expected in another century."""

    code = "expected_date_out_of_range"

    def __init__(self, expected_at: datetime) -> None:
        super().__init__(
            f"Goods are expected between {EARLIEST:%Y} and {LATEST:%Y}, not on {expected_at:%Y-%m-%d}. Is the year right?"
        )


@once_more_if_taken
def create_purchase_orders(orders: Sequence[NewPurchaseOrder], *, by: str = "") -> list[PurchaseOrder]:
    """Order from suppliers, all or none. An order whose id exists with the same lines is the same order.

    One whose id was given up before it came stays cancelled. Raises `PurchaseOrderTaken` for an id or a reference that belongs
    to another one, `NoLines`, `QuantityOutOfRange`, `ExpectedDateOutOfRange`.
    """
    for each in orders:
        _check_date(each.expected_at)
    distinct = by_id(orders, PurchaseOrderTaken)
    lines = {order.id: _checked(order.lines) for order in distinct.values()}
    known = _created_before(distinct, lines)
    new = {order.id: _new_row(order, by) for order in distinct.values() if order.id not in known}
    _insert(new, lines)
    return [known.get(order.id) or new[order.id] for order in orders]


@once_more_if_taken
def receive_goods(arrivals: Sequence[Arrival], *, by: str = "", reason: str = "") -> list[Receipt]:
    """Goods arrived for purchase orders, all or none. A receipt id counts once. Locks the purchase orders, by id.

    Raises `NoSuchPurchaseOrder`, `NothingOutstanding`, `MoreThanOrdered`, `NotOnTheOrder`, `ReceiptTaken`, `NoLines`,
    `QuantityOutOfRange`, `ReasonTooLong`.
    """
    orders = PurchaseOrder.objects.filter(id__in=[arrival.purchase_order_id for arrival in arrivals])
    work = Work(orders.locked(), receipts=[arrival.id for arrival in arrivals], by=by, reason=reason)
    receipts = [work.receive(arrival) for arrival in arrivals]
    work.save()
    return receipts


def cancel_purchase_orders(purchase_order_ids: Collection[UUID], *, by: str, reason: str = "") -> int:
    """Nothing of these will come, and nothing has: all or none. Cancelling one again changes nothing. Returns how many changed.

    Whoever waits for them has what is missing bought again. Locks them, by id. Raises `PurchaseOrderCannotBeCancelled`,
    `NoSuchPurchaseOrder`, `ReasonTooLong`.
    """
    return _decide(purchase_order_ids, Work.cancel, by=by, reason=reason)


def close_short(purchase_order_ids: Collection[UUID], *, by: str, reason: str = "") -> int:
    """The rest of these will never come: all or none. Closing one again changes nothing. Returns how many changed.

    Whoever waits for them has what is missing bought again. Locks them, by id. Raises `PurchaseOrderCannotBeClosedShort`,
    `NoSuchPurchaseOrder`, `ReasonTooLong`.
    """
    return _decide(purchase_order_ids, Work.close_short, by=by, reason=reason)


@transaction.atomic
def expect_goods(purchase_order_id: UUID, expected_at: datetime, *, by: str, reason: str = "") -> int:
    """The goods are expected then, and not overdue until then. Returns whether that is news (1, or 0).

    Locks the purchase order. Raises `ExpectedDateOutOfRange`, `PurchaseOrderEnded`, `NoSuchPurchaseOrder`, `ReasonTooLong`.
    """
    _check_date(expected_at)
    work = Work(PurchaseOrder.objects.filter(id=purchase_order_id).locked(), by=by, reason=reason)
    work.expect(work.order(purchase_order_id), expected_at)
    return work.save()


@transaction.atomic
def mark_overdue() -> int:
    """Mark some of those that should be here and are not, and say so; returns how many it were. Locks them, by id."""
    late = PurchaseOrder.objects.open().filter(expected_at__lte=timezone.now(), overdue=False)
    work = Work(late.locked()[:MARKED_AT_ONCE])
    for order in work.orders.values():
        work.mark_overdue(order)
    work.save()
    return len(work.orders)


def take(batch: Sequence[Received]) -> None:
    """Purchase as a consumer: fold a batch of messages into purchase orders, inside the drain's transaction.

    What is created and given up in one batch is cancelled, in whichever order it was said. Locks the purchase orders, by id.
    Raises `UnexpectedMessage`.
    """
    for received in batch:
        if not isinstance(received.message, CreatePurchaseOrder | CancelPurchaseOrder | ReverseReceipt):
            raise UnexpectedMessage(f"Purchase does not handle {type(received.message).__name__}.")
    commands = [received.message for received in batch]
    about = [each.purchase_order_id for each in commands if isinstance(each, CreatePurchaseOrder | CancelPurchaseOrder)]
    for elsewhere in PurchaseOrder.objects.filter(id__in=about, elsewhere=True)[:1]:
        raise UnexpectedMessage(
            f"Purchase order {elsewhere} is kept by another system. Set ORDERFLOW_PURCHASE_URL as it was, and replay this."
        )
    carry_out(batch)


def carry_out(batch: Sequence[Received]) -> None:
    """`take`, wherever the purchase orders are kept."""
    new = [received.message for received in batch if isinstance(received.message, CreatePurchaseOrder)]
    create_purchase_orders([NewPurchaseOrder(id=command.purchase_order_id, lines=command.lines) for command in new])
    _change([received for received in batch if not isinstance(received.message, CreatePurchaseOrder)])


@transaction.atomic
def _decide(purchase_order_ids: Collection[UUID], act: Callable[[Work, PurchaseOrder], None], *, by: str, reason: str) -> int:
    """A person wants the same of several purchase orders."""
    work = Work(PurchaseOrder.objects.filter(id__in=purchase_order_ids).locked(), by=by, reason=reason)
    for purchase_order_id in purchase_order_ids:
        act(work, work.order(purchase_order_id))
    return work.save()


def _change(batch: Sequence[Received]) -> None:
    if not batch:
        return
    messages = [received.message for received in batch]
    given_up = {message.purchase_order_id for message in messages if isinstance(message, CancelPurchaseOrder)}
    receipts = {message.receipt_id for message in messages if isinstance(message, ReverseReceipt)}
    received_for = set(Receipt.objects.filter(id__in=receipts).values_list("order_id", flat=True))  # which never changes
    work = Work(PurchaseOrder.objects.filter(id__in=given_up | received_for).locked(), receipts=receipts)
    for received in batch:
        work.cause = received.id
        match received.message:
            case CancelPurchaseOrder() as command:
                work.give_up(command.purchase_order_id)
            case ReverseReceipt() as reversal:
                work.reverse(reversal)
    work.save()


def _check_date(expected_at: datetime | None) -> None:
    if expected_at is not None and not EARLIEST <= expected_at < LATEST:
        raise ExpectedDateOutOfRange(expected_at)


def _checked(lines: Sequence[PeggedQuantity]) -> PeggedLines:
    checked_lines(ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines)
    quantities: Counter[tuple[UUID, UUID | None]] = Counter()
    for line in lines:
        quantities[line.product_id, line.bought_for] += line.quantity
    return dict(quantities)


def _created_before(orders: Mapping[UUID, NewPurchaseOrder], lines: Mapping[UUID, PeggedLines]) -> dict[UUID, PurchaseOrder]:
    """What was made up for want of being given does not count, nor the expected date, which may have been changed since."""
    known = PurchaseOrder.objects.prefetch_related("lines").in_bulk(orders)
    for order_id, row in known.items():
        ordered = {(line.product_id, line.bought_for): line.quantity for line in row.lines.all()}
        given_up = row.status == Status.CANCELLED and not ordered
        same = ordered == lines[order_id] and (orders[order_id].reference or row.reference) == row.reference
        if not given_up and not same:
            raise PurchaseOrderTaken(f"id {order_id}")
    return known


def _insert(orders: Mapping[UUID, PurchaseOrder], lines: Mapping[UUID, PeggedLines]) -> None:
    # One of ours that was inserted since we looked is not another one: the insert will meet it, and we shall look again.
    others = PurchaseOrder.objects.exclude(id__in=orders)  # which are new
    refuse_taken_references([order.reference for order in orders.values()], others, PurchaseOrderTaken)
    PurchaseOrder.objects.bulk_create(sorted(orders.values(), key=lambda order: order.reference))  # inserts wait for each other
    PurchaseOrderLine.objects.bulk_create(
        PurchaseOrderLine(order_id=order_id, product_id=product_id, quantity=quantity, bought_for=bought_for)
        for order_id in orders
        for (product_id, bought_for), quantity in lines[order_id].items()
    )


def _new_row(order: NewPurchaseOrder, by: str) -> PurchaseOrder:
    now = timezone.now()
    return PurchaseOrder(
        id=order.id,
        reference=order.reference or made_up_reference(order.id),
        ordered_at=now,
        expected_at=order.expected_at or now + settings.ORDERFLOW_LEAD_TIME,
        by=by,
        elsewhere=order.elsewhere,
    )
