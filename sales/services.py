"""What can be done with sales orders, each in one transaction: place them, deliver them, advance their processes."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.database import by_id, once_more_if_taken, refuse_taken_references, save_rows
from orderflow.messaging.consuming import not_handled
from orderflow.messaging.messages import Message, Received, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.refusals import Conflict, NotFound
from purchase.contract import GoodsReceived
from sales.contract import SalesOrderCreated
from sales.models import DeliveryChoice, OrderPurchase, OrderStatus, OrderStatusChange, SalesOrder, SalesOrderLine
from sales.process_manager import AG, Deliver, Facts, Process, RetryReservation, State, decide
from stock.contract import ReservationAccepted, ReservationRejected

STOCK = "stock"  # the consumer that retries wait for

Lines = tuple[ProductQuantity, ...]


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """A sales order to place. What is not given is made up: an id, a reference from it, the time, the default delivery."""

    lines: Sequence[ProductQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""
    customer: str = ""
    priority: int = 0
    delivery: str = ""
    placed_at: datetime = field(default_factory=timezone.now)


class OrderTaken(Conflict):
    code = "order_taken"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is another sales order with the {what}. Nothing was placed: choose a different one.")


class NoSuchOrder(NotFound):
    code = "no_such_order"

    def __init__(self, sales_order_id: UUID) -> None:
        super().__init__(f"There is no sales order {sales_order_id}.")


@once_more_if_taken
def place_orders(orders: Sequence[NewOrder], *, by: str = "") -> list[SalesOrder]:
    """Accept sales orders, all or none, and set their processes going.

    An order whose id exists with the same content is the same order: it is returned as it is. Raises `OrderTaken` for an id or
    a reference that belongs to another one, `NoLines`, `QuantityOutOfRange`.
    """
    distinct = by_id(orders, OrderTaken)
    lines = {order.id: checked_lines(order.lines) for order in distinct.values()}
    known = _placed_before(distinct, lines)
    placed = {order.id: _new_row(order) for order in distinct.values() if order.id not in known}
    _insert(placed, lines)
    created = [SalesOrderCreated(sales_order_id=row.id, reference=row.reference, lines=lines[row.id]) for row in placed.values()]
    message_ids = publish([Outgoing(message=event) for event in created])
    work = _Work([OrderStatus(order=row, state=State.NEW) for row in placed.values()], lines=lines)
    for message_id, event in zip(message_ids, created, strict=True):
        work.apply(event.sales_order_id, event, message_id=message_id, by=by)
    work.save()
    return [known.get(order.id) or placed[order.id] for order in orders]


@transaction.atomic
def deliver_orders(sales_order_ids: Collection[UUID], *, by: str) -> None:
    """Deliver orders that are deliverable, all or none; delivering one again changes nothing. Locks their `OrderStatus` rows.

    Raises `OrderCannotBeDelivered`, `NoSuchOrder`.
    """
    work = _Work.on_locked(sales_order_ids)
    for sales_order_id in sales_order_ids:
        if sales_order_id not in work.statuses:
            raise NoSuchOrder(sales_order_id)
        work.apply(sales_order_id, Deliver(reference=work.statuses[sales_order_id].order.reference), by=by)
    work.save()


def advance(batch: Sequence[Received]) -> None:
    """Sales as a consumer: fold a batch of messages into the processes they are about, inside the drain's transaction.

    Locks their `OrderStatus` rows in one pass, by id. Raises `UnexpectedMessage`.
    """
    owners = _owners_of_purchases(batch)
    about = [(received, _sales_order_id(received.message, owners)) for received in batch]
    work = _Work.on_locked({sales_order_id for _, sales_order_id in about if sales_order_id})
    work.prepare_retries(batch)
    for received, sales_order_id in about:
        if sales_order_id:  # a purchase order that no sales order waits for is none of Sales' business
            work.apply(sales_order_id, received.message, message_id=received.id)
    work.save()


# -- placing --------------------------------------------------------------------------------------------------------------


def _placed_before(orders: Mapping[UUID, NewOrder], lines: Mapping[UUID, Lines]) -> dict[UUID, SalesOrder]:
    known = SalesOrder.objects.prefetch_related("lines").in_bulk(orders)
    for order_id, row in known.items():
        if not _is_the_same(row, orders[order_id], lines[order_id]):
            raise OrderTaken(f"id {order_id}")
    return known


def _is_the_same(row: SalesOrder, order: NewOrder, lines: Lines) -> bool:
    """What was made up for want of being given does not count."""
    given = (order.reference or row.reference, order.customer, order.priority, order.delivery or row.delivery, set(lines))
    return given == (row.reference, row.customer, row.priority, row.delivery, set(_lines(row)))


def _new_row(order: NewOrder) -> SalesOrder:
    return SalesOrder(
        id=order.id,
        reference=order.reference or f"SO-{order.id.hex[:16]}",
        customer=order.customer,
        priority=order.priority,
        delivery=order.delivery or settings.ORDERFLOW_DELIVERY,
        placed_at=order.placed_at,
    )


def _insert(orders: Mapping[UUID, SalesOrder], lines: Mapping[UUID, Lines]) -> None:
    refuse_taken_references([order.reference for order in orders.values()], SalesOrder.objects.all(), OrderTaken)
    SalesOrder.objects.bulk_create(sorted(orders.values(), key=lambda order: order.reference))  # inserts wait for each other
    SalesOrderLine.objects.bulk_create(
        SalesOrderLine(order_id=order_id, product_id=line.product_id, quantity=line.quantity)
        for order_id in orders
        for line in lines[order_id]
    )


def _lines(order: SalesOrder) -> Lines:
    return tuple(ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in order.lines.all())


# -- the process manager at work ------------------------------------------------------------------------------------------


def _owners_of_purchases(batch: Sequence[Received]) -> dict[UUID, UUID]:
    arrived = {received.message.purchase_order_id for received in batch if isinstance(received.message, GoodsReceived)}
    if not arrived:
        return {}
    return dict(OrderPurchase.objects.filter(pk__in=arrived).values_list("purchase_order_id", "status_id"))


def _sales_order_id(message: Message, owners: Mapping[UUID, UUID]) -> UUID | None:
    """The sales order that a message is about; None where it is about a purchase order that no sales order waits for."""
    match message:
        case ReservationAccepted() | ReservationRejected():
            return message.reservation_id
        case RetryReservation():
            return message.sales_order_id
        case GoodsReceived():
            return owners.get(message.purchase_order_id)
    raise UnexpectedMessage(f"Sales does not handle {type(message).__name__}.")


class _Work:
    """Processes being advanced in one transaction: loaded once, folded in memory, written once."""

    def __init__(
        self,
        statuses: Iterable[OrderStatus],
        *,
        purchases: Iterable[OrderPurchase] = (),
        lines: Mapping[UUID, Lines] | None = None,
    ) -> None:
        self.now = timezone.now()
        self.statuses = {status.order_id: status for status in statuses}
        self._purchases: dict[UUID, dict[UUID, OrderPurchase]] = {order_id: {} for order_id in self.statuses}
        for purchase in purchases:
            self._purchases[purchase.status_id][purchase.purchase_order_id] = purchase
        self._processes = {order_id: self._process(status) for order_id, status in self.statuses.items()}
        self._lines = lines or {}
        self._not_handled_by_stock: set[int] = set()
        self._changed: dict[UUID, OrderStatus] = {}
        self._changed_purchases: dict[UUID, OrderPurchase] = {}
        self._history: list[OrderStatusChange] = []
        self._outgoing: list[Outgoing] = []

    @classmethod
    def on_locked(cls, sales_order_ids: Collection[UUID]) -> "_Work":
        statuses = list(OrderStatus.objects.filter(order_id__in=sales_order_ids).select_related("order").locked())
        return cls(statuses, purchases=OrderPurchase.objects.filter(status__in=statuses))

    def prepare_retries(self, batch: Sequence[Received]) -> None:
        """Look up, for the whole batch, what its retries ask: how far Stock is, and what was ordered."""
        retried = [each.message.sales_order_id for each in batch if isinstance(each.message, RetryReservation)]
        if not retried:
            return
        closing = [each.closed_by for own in self._purchases.values() for each in own.values() if each.closed_by]
        arriving = [each.id for each in batch if isinstance(each.message, GoodsReceived)]
        self._not_handled_by_stock = not_handled(STOCK, [*closing, *arriving])
        orders = SalesOrder.objects.filter(id__in=retried).prefetch_related("lines")
        self._lines = {order.id: _lines(order) for order in orders}

    def apply(self, sales_order_id: UUID, message: object, *, message_id: int | None = None, by: str = "") -> None:
        """Decide, and remember the decision for `save()`."""
        if sales_order_id not in self._processes:
            raise UnexpectedMessage(f"There is no sales order {sales_order_id}.")
        before = self._processes[sales_order_id]
        decision = decide(before, message, self._facts(sales_order_id))
        self._processes[sales_order_id] = decision.process
        self._remember_states(sales_order_id, before.state, decision.entered, message_id, by)
        self._remember_purchases(before, decision.process, message_id)
        if decision.process != before:
            self._remember_status(decision.process)
        self._outgoing += [Outgoing(message=each, caused_by=message_id, countdown=_countdown(each)) for each in decision.messages]

    def save(self) -> None:
        save_rows(list(self._changed.values()), ["state", "since", "request", "purchase_order_id"])
        save_rows(list(self._changed_purchases.values()), ["closed_by"])
        OrderStatusChange.objects.bulk_create(self._history)
        publish(self._outgoing)

    def _facts(self, sales_order_id: UUID) -> Facts:
        closed_by = {purchase.closed_by for purchase in self._purchases[sales_order_id].values()}
        return Facts(
            new_purchase_order_id=uuid.uuid4(),
            lines=self._lines.get(sales_order_id, ()),
            stock_has_caught_up=not closed_by & self._not_handled_by_stock,
            hold_parts=settings.ORDERFLOW_BUY == "shortage",
            first_countdown=settings.ORDERFLOW_FIRST_COUNTDOWN,
            longest_countdown=settings.ORDERFLOW_LONGEST_COUNTDOWN,
        )

    def _process(self, status: OrderStatus) -> Process:
        own = self._purchases[status.order_id].values()
        return Process(
            sales_order_id=status.order_id,
            automatic=status.order.delivery == DeliveryChoice.AUTOMATIC,
            priority=status.order.priority,
            placed_at=status.order.placed_at,
            state=State(status.state),
            revision=status.order.revision,
            request=status.request,
            open_purchases=frozenset(purchase.purchase_order_id for purchase in own if purchase.closed_by is None),
        )

    def _remember_status(self, process: Process) -> None:
        status = self.statuses[process.sales_order_id]
        if status.state != process.state:
            status.since = self.now
        status.state = process.state
        status.request = process.request
        status.purchase_order_id = next(iter(process.open_purchases)) if process.state == AG else None
        self._changed[status.order_id] = status

    def _remember_states(
        self, sales_order_id: UUID, state: State, entered: Sequence[State], message_id: int | None, by: str
    ) -> None:
        for before, after in zip([state, *entered], entered, strict=False):
            self._history.append(
                OrderStatusChange(
                    status_id=sales_order_id, from_state=before, to_state=after, message_id=message_id, by=by, at=self.now
                )
            )

    def _remember_purchases(self, before: Process, after: Process, message_id: int | None) -> None:
        own = self._purchases[after.sales_order_id]
        for opened in after.open_purchases - before.open_purchases:
            own[opened] = OrderPurchase(purchase_order_id=opened, status_id=after.sales_order_id, ordered_at=self.now)
        for closed in before.open_purchases - after.open_purchases:
            own[closed].closed_by = message_id
        for changed in after.open_purchases ^ before.open_purchases:
            self._changed_purchases[changed] = own[changed]


def _countdown(message: Message) -> float:
    return message.countdown if isinstance(message, RetryReservation) else 0.0
