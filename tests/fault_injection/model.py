"""A model of Orderflow without Django, database and time, to explore every reachable state.

The rules are the product's own: `decide` of the process manager, Stock's allocation rule and
Purchase's lifecycle. The model around them is as small as possible. Messages with the same key
are handled in order of publication, all others in any order. A scheduled message can be due at
any time.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self
from uuid import UUID

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Message, UnexpectedMessage
from purchase.contract import (
    CreatePurchaseOrder,
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    WithdrawPurchaseOrder,
)
from purchase.lifecycle import (
    OPEN_STATUSES,
    OrderedLine,
    PurchaseOrderAction,
    distribute_receipt,
)
from purchase.lifecycle import Status as PurchaseOrderStatus
from purchase.lifecycle import decide as decide_purchase
from sales.contract import SalesOrderCreated
from sales.process_manager import (
    CLOSED_STATUSES,
    Cancel,
    Change,
    Deliver,
    Facts,
    Process,
    RetryNow,
    RetryReservation,
    Status,
    WithdrawPolicy,
    decide,
)
from stock.allocation import Backorder, allocate, initial_reservation
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ReservationRejected,
    ShipReservation,
)

CHAIR, DESK = PRODUCTS = (UUID(int=1), UUID(int=2))
START = datetime(2026, 1, 1, tzinfo=UTC)
CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
BACKORDERED, ACCEPTED, SHIPPED, RELEASED = "backordered", "accepted", "shipped", "released"

Quantities = tuple[int, ...]  # by product, in the order of PRODUCTS
Queue = tuple[tuple[UUID, tuple[Message, ...]], ...]  # by key, in the order of publication

NOTHING: Quantities = (0,) * len(PRODUCTS)


@dataclass(frozen=True, kw_only=True)
class Order:
    quantities: Quantities
    automatic: bool = True
    priority: int = 0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The orders and the stock at the start, and how often each disturbance may happen."""

    name: str
    orders: tuple[Order, ...]
    on_hand: Quantities = NOTHING
    allow_partial: bool = False
    withdraw_policy: WithdrawPolicy = WithdrawPolicy.ON_CANCEL
    max_repurchases: int = 3
    partial_receipts: int = 0
    closed_short: int = 0
    purchase_orders_cancelled: int = 0
    orders_cancelled: int = 0
    orders_changed: int = 0
    adjustments: int = 0  # each adds one chair
    duplicates: int = 0  # a message is handled, and published a second time

    def allowances(self) -> "Allowances":
        return Allowances(*(getattr(self, name) for name in Allowances._fields))


class Allowances(NamedTuple):
    """How often each disturbance may still happen."""

    partial_receipts: int
    closed_short: int
    purchase_orders_cancelled: int
    orders_cancelled: int
    orders_changed: int
    adjustments: int
    duplicates: int


class Reservation(NamedTuple):
    status: str
    revision: int
    request_number: int
    requested: Quantities
    reserved: Quantities

    @property
    def shortage(self) -> Quantities:
        pairs = zip(self.requested, self.reserved, strict=True)
        return tuple(requested - reserved for requested, reserved in pairs)


class PurchaseOrder(NamedTuple):
    status: PurchaseOrderStatus
    lines: tuple[PeggedQuantity, ...]
    received: Quantities  # by line
    receipts: int


class State(NamedTuple):
    processes: tuple[Process, ...]
    order_lines: tuple[Quantities, ...]
    closed_by: tuple[frozenset[Message], ...]  # by order: what closed its purchase orders
    on_hand: Quantities
    reservations: tuple[Reservation | None, ...]
    purchase_orders: tuple[tuple[UUID, PurchaseOrder], ...]
    to_sales: Queue
    to_stock: Queue
    to_purchase: Queue
    scheduled: tuple[RetryReservation, ...]
    allowances: Allowances


def _order_id(index: int) -> UUID:
    return UUID(int=100 + index)


def _index(order_id: UUID) -> int:
    return order_id.int - 100


def _as_lines(quantities: Quantities) -> tuple[ProductQuantity, ...]:
    pairs = zip(PRODUCTS, quantities, strict=True)
    return tuple(
        ProductQuantity(product_id=product, quantity=quantity)
        for product, quantity in pairs
        if quantity
    )


def _as_quantities(lines: tuple[ProductQuantity, ...]) -> Quantities:
    by_product = {line.product_id: line.quantity for line in lines}
    return tuple(by_product.get(product, 0) for product in PRODUCTS)


def has_handled(state: State, message: Message) -> bool:
    """Return whether Stock has handled the message: it is no longer in Stock's queue."""
    return all(message not in queued for _, queued in state.to_stock)


class Successor:
    """A state that is being changed by one step."""

    def __init__(self, scenario: Scenario, state: State) -> None:
        self._scenario = scenario
        self._before = state
        self.processes = list(state.processes)
        self.order_lines = list(state.order_lines)
        self.closed_by = list(state.closed_by)
        self.on_hand = list(state.on_hand)
        self.reservations = list(state.reservations)
        self.purchase_orders = dict(state.purchase_orders)
        self.to_sales = {key: list(queued) for key, queued in state.to_sales}
        self.to_stock = {key: list(queued) for key, queued in state.to_stock}
        self.to_purchase = {key: list(queued) for key, queued in state.to_purchase}
        self.scheduled = list(state.scheduled)
        self.allowances = state.allowances

    def state(self) -> State:
        return State(
            processes=tuple(self.processes),
            order_lines=tuple(self.order_lines),
            closed_by=tuple(self.closed_by),
            on_hand=tuple(self.on_hand),
            reservations=tuple(self.reservations),
            purchase_orders=tuple(sorted(self.purchase_orders.items(), key=lambda item: item[0])),
            to_sales=_queue(self.to_sales),
            to_stock=_queue(self.to_stock),
            to_purchase=_queue(self.to_purchase),
            scheduled=tuple(
                sorted(
                    self.scheduled, key=lambda retry: (retry.sales_order_id, retry.request_number)
                )
            ),
            allowances=self.allowances,
        )

    def spend(self, allowance: str) -> None:
        left = getattr(self.allowances, allowance) - 1
        self.allowances = self.allowances._replace(**{allowance: left})

    # -- Sales -----------------------------------------------------------------------------------

    def advance(self, index: int, message: object) -> None:
        """Apply a message or a user's decision to a sales order."""
        before = self.processes[index]
        facts = Facts(
            new_purchase_order_id=UUID(int=1000 * (index + 1) + before.request_number),
            lines=_as_lines(self.order_lines[index]),
            stock_has_caught_up=all(
                has_handled(self._before, each) for each in self.closed_by[index]
            ),
            allow_partial=self._scenario.allow_partial,
            retry_countdown=1.0,
            retry_countdown_max=1.0,  # the length of a countdown makes no difference in the model
            max_repurchases=self._scenario.max_repurchases,
            withdraw_policy=self._scenario.withdraw_policy,
        )
        decision = decide(before, message, facts)
        after = self.processes[index] = decision.process
        closed = len(after.open_purchase_orders) < len(before.open_purchase_orders)
        if isinstance(message, CLOSING) and closed:
            self.closed_by[index] |= {message}
        for each in decision.messages:
            self._publish_of_sales(index, each)

    def _publish_of_sales(self, index: int, message: Message) -> None:
        match message:
            case RetryReservation():
                self.schedule(message)
            case MakeReservation():
                unhandled = [
                    closing
                    for closing in self.closed_by[index]
                    if closing in self.to_stock.get(closing.key, ())
                ]
                assert not unhandled, "Sales requested a reservation before Stock had caught up"
                self._publish(self.to_stock, message)
            case ReleaseReservation() | ShipReservation():
                self._publish(self.to_stock, message)
            case CreatePurchaseOrder() | WithdrawPurchaseOrder():
                self._publish(self.to_purchase, message)

    def schedule(self, retry: RetryReservation) -> None:
        self.scheduled.append(retry)

    def handle_in_sales(self, message: Message) -> None:
        match message:
            case ReservationAccepted() | ReservationRejected():
                self.advance(_index(message.reservation_id), message)
            case GoodsReceived() | PurchaseOrderCancelled() | PurchaseOrderClosedShort():
                self.advance(message.purchase_order_id.int // 1000 - 1, message)

    # -- Stock -----------------------------------------------------------------------------------

    def handle_in_stock(self, message: Message) -> None:
        match message:
            case MakeReservation():
                self.reserve(message)
            case ReleaseReservation():
                self.release(_index(message.reservation_id))
            case ShipReservation():
                self.ship(_index(message.reservation_id))
            case GoodsReceived():
                self.receive(message)
        # A handled message has no further effect: forget it, so that equal states are equal.
        self.closed_by = [closings - {message} for closings in self.closed_by]

    def reserve(self, request: MakeReservation) -> None:
        index = _index(request.reservation_id)
        existing = self.reservations[index]
        requested = _as_quantities(request.lines)
        if existing is None:
            self.reservations[index] = Reservation(
                BACKORDERED, request.revision, request.request_number, requested, NOTHING
            )
            reserved = initial_reservation(
                {line.product_id: line.quantity for line in request.lines},
                {product: self._available(at) for at, product in enumerate(PRODUCTS)},
                allow_partial=request.allow_partial,
            )
        elif existing.status in (SHIPPED, RELEASED) or request.revision < existing.revision:
            return
        else:
            if request.revision > existing.revision:
                self._change(index, request.revision, requested)
            reserved = {
                product: self._allocation_for(index, at) for at, product in enumerate(PRODUCTS)
            }
        self.reservations[index] = self._reservation(index)._replace(
            request_number=request.request_number
        )
        for at, product in enumerate(PRODUCTS):
            self._reserve(index, at, reserved.get(product, 0))
        if not self._accept_if_fully_reserved(index):
            reservation = self._reservation(index)
            rejected = ReservationRejected(
                reservation_id=_order_id(index),
                revision=reservation.revision,
                request_number=reservation.request_number,
                shortages=_as_lines(reservation.shortage),
            )
            self._publish(self.to_sales, rejected)

    def release(self, index: int) -> None:
        reservation = self.reservations[index]
        if reservation is None:
            self.reservations[index] = Reservation(RELEASED, 0, 0, NOTHING, NOTHING)
            return
        assert reservation.status != SHIPPED, "a shipped reservation was released"
        if reservation.status != RELEASED:
            self.reservations[index] = reservation._replace(status=RELEASED, reserved=NOTHING)
            for at, reserved in enumerate(reservation.reserved):
                if reserved:
                    self._allocate_available(at)

    def ship(self, index: int) -> None:
        reservation = self._reservation(index)
        if reservation.status == SHIPPED:
            return
        assert reservation.status == ACCEPTED, "a reservation was shipped that is not accepted"
        self.reservations[index] = reservation._replace(status=SHIPPED, reserved=NOTHING)
        for at, reserved in enumerate(reservation.reserved):
            self.on_hand[at] -= reserved

    def receive(self, receipt: GoodsReceived) -> None:
        received: Counter[UUID] = Counter()
        pegs: dict[UUID, Counter[UUID]] = {product: Counter() for product in PRODUCTS}
        for line in receipt.lines:
            assert line.pegged_to
            received[line.product_id] += line.quantity
            pegs[line.product_id][line.pegged_to] += line.quantity
        for at, product in enumerate(PRODUCTS):
            if received[product]:
                self.on_hand[at] += received[product]
                self._allocate_available(at, pegs[product])

    def adjust(self, at: int) -> None:
        self.on_hand[at] += 1
        self._allocate_available(at)

    def _change(self, index: int, revision: int, requested: Quantities) -> None:
        before = self._reservation(index)
        reserved = tuple(min(pair) for pair in zip(before.reserved, requested, strict=True))
        self.reservations[index] = Reservation(
            BACKORDERED, revision, before.request_number, requested, reserved
        )
        for at, (earlier, now) in enumerate(zip(before.reserved, reserved, strict=True)):
            if now < earlier:
                self._allocate_available(at)

    def _allocate_available(self, at: int, pegs: Mapping[UUID, int] | None = None) -> None:
        backorders = self._backorders(at)
        available = self._available(at)
        allocated = allocate(available, backorders, pegs)
        for order_id, pegged in (pegs or {}).items():
            if order_id in backorders:
                due = min(pegged, backorders[order_id].shortage, available)
                assert allocated.get(order_id, 0) >= due, (
                    "goods pegged to a backorder were allocated to another order"
                )
        for order_id, quantity in allocated.items():
            self._reserve(_index(order_id), at, quantity)
            self._accept_if_fully_reserved(_index(order_id))

    def _allocation_for(self, index: int, at: int) -> int:
        order_id = _order_id(index)
        mine = {key: each for key, each in self._backorders(at).items() if key == order_id}
        return allocate(self._available(at), mine).get(order_id, 0)

    def _backorders(self, at: int) -> dict[UUID, Backorder]:
        return {
            _order_id(index): Backorder(
                shortage=reservation.shortage[at],
                priority=self._scenario.orders[index].priority,
                placed_at=self.processes[index].placed_at,
            )
            for index, reservation in enumerate(self.reservations)
            if reservation and reservation.status == BACKORDERED and reservation.shortage[at]
        }

    def _reserve(self, index: int, at: int, quantity: int) -> None:
        reservation = self._reservation(index)
        reserved = list(reservation.reserved)
        reserved[at] += quantity
        self.reservations[index] = reservation._replace(reserved=tuple(reserved))

    def _accept_if_fully_reserved(self, index: int) -> bool:
        reservation = self._reservation(index)
        if any(reservation.shortage):
            return False
        self.reservations[index] = reservation._replace(status=ACCEPTED)
        accepted = ReservationAccepted(
            reservation_id=_order_id(index),
            revision=reservation.revision,
            request_number=reservation.request_number,
        )
        self._publish(self.to_sales, accepted)
        return True

    def _reservation(self, index: int) -> Reservation:
        reservation = self.reservations[index]
        assert reservation, "a message to Stock names an unknown reservation"
        return reservation

    def _available(self, at: int) -> int:
        return self.on_hand[at] - sum(each.reserved[at] for each in self.reservations if each)

    # -- Purchase --------------------------------------------------------------------------------

    def handle_in_purchase(self, command: Message) -> None:
        match command:
            case CreatePurchaseOrder():
                if command.purchase_order_id not in self.purchase_orders:
                    self.purchase_orders[command.purchase_order_id] = PurchaseOrder(
                        PurchaseOrderStatus.OPEN, command.lines, (0,) * len(command.lines), 0
                    )
            case WithdrawPurchaseOrder():
                unknown = PurchaseOrder(PurchaseOrderStatus.OPEN, (), (), 0)
                self.purchase_orders.setdefault(command.purchase_order_id, unknown)
                self.close_purchase_order(
                    command.purchase_order_id, PurchaseOrderAction.WITHDRAW, PurchaseOrderCancelled
                )

    def close_purchase_order(
        self, order_id: UUID, action: PurchaseOrderAction, event: Callable[..., Message]
    ) -> None:
        order = self.purchase_orders[order_id]
        after = decide_purchase(order.status, action, reference="")
        if after != order.status:
            self.purchase_orders[order_id] = order._replace(status=after)
            self._publish_event(
                event(purchase_order_id=order_id, sequence_number=order.receipts + 1)
            )

    def receive_goods(self, order_id: UUID, quantities: Mapping[UUID, int] | None) -> None:
        order = self.purchase_orders[order_id]
        lines = [
            OrderedLine(
                product_id=line.product_id, sku="", quantity=line.quantity, received=received
            )
            for line, received in zip(order.lines, order.received, strict=True)
        ]
        status, shares = distribute_receipt(order.status, lines, quantities, reference="")
        self.purchase_orders[order_id] = order._replace(
            status=status,
            received=tuple(map(sum, zip(order.received, shares, strict=True))),
            receipts=order.receipts + 1,
        )
        goods = GoodsReceived(
            purchase_order_id=order_id,
            receipt_id=UUID(int=order_id.int * 100 + order.receipts),
            lines=tuple(
                replace(line, quantity=share)
                for line, share in zip(order.lines, shares, strict=True)
                if share
            ),
            final=status == PurchaseOrderStatus.RECEIVED,
            sequence_number=order.receipts + 1,
        )
        self._publish_event(goods)

    # -- messages --------------------------------------------------------------------------------

    def _publish(self, queue: dict[UUID, list[Message]], message: Message) -> None:
        queue.setdefault(message.key, []).append(message)

    def _publish_event(self, message: Message) -> None:
        self._publish(self.to_sales, message)
        self._publish(self.to_stock, message)


def _queue(queued: Mapping[UUID, list[Message]]) -> Queue:
    return tuple(sorted((key, tuple(messages)) for key, messages in queued.items() if messages))


# -- possible steps ------------------------------------------------------------------------------

Effect = Callable[[Successor], None]


class Step(NamedTuple):
    """`allowance`: what the step uses up. None: the step is certain to happen at some time."""

    name: str
    apply: Effect
    allowance: str | None = None


def possible_steps(state: State) -> Iterator[Step]:
    yield from _steps_of_messages(state)
    yield from _steps_of_users(state)
    yield from _steps_of_suppliers(state)
    if state.allowances.adjustments:
        yield Step("add a chair to stock", lambda successor: successor.adjust(0), "adjustments")


def _steps_of_messages(state: State) -> Iterator[Step]:
    for name, handle in (
        ("to_sales", Successor.handle_in_sales),
        ("to_stock", Successor.handle_in_stock),
        ("to_purchase", Successor.handle_in_purchase),
    ):
        queue: Queue = getattr(state, name)
        for key, (first, *_) in queue:
            text = f"{type(first).__name__} {key.int} {name}"
            yield Step(text, _handle_next(name, key, handle))
            if state.allowances.duplicates and _may_be_duplicated(first, name):
                yield Step(f"{text}, duplicate", _handle_copy(first, handle), "duplicates")
    for retry in state.scheduled:
        yield Step(f"retry of order {_index(retry.sales_order_id)} is due", _retry(retry))


def _handle_next(name: str, key: UUID, handle: Callable[[Successor, Message], None]) -> Effect:
    return lambda successor: handle(successor, getattr(successor, name)[key].pop(0))


def _handle_copy(message: Message, handle: Callable[[Successor, Message], None]) -> Effect:
    return lambda successor: handle(successor, message)


def _retry(retry: RetryReservation) -> Effect:
    def apply(successor: Successor) -> None:
        successor.scheduled.remove(retry)
        successor.advance(_index(retry.sales_order_id), retry)

    return apply


def _may_be_duplicated(message: Message, to: str) -> bool:
    """Return whether the message may be published twice. The kernel handles each only once."""
    if to == "to_stock":
        return isinstance(message, ReleaseReservation | ShipReservation)
    return to == "to_purchase" or not isinstance(message, ReservationRejected)


def _steps_of_users(state: State) -> Iterator[Step]:
    for index, process in enumerate(state.processes):
        if process.status == Status.DELIVERABLE:
            yield Step(f"deliver order {index}", _decide(index, Deliver(reference="")))
        if process.status == Status.AWAITING_STOCK_RESERVATION and process.needs_attention:
            yield Step(f"retry order {index}", _decide(index, RetryNow(reference="")))
        if process.status not in CLOSED_STATUSES:
            if state.allowances.orders_cancelled:
                cancel = _decide(index, Cancel(reference=""))
                yield Step(f"cancel order {index}", cancel, "orders_cancelled")
            if state.allowances.orders_changed:
                yield Step(f"change order {index}", _change_lines(index), "orders_changed")


def _decide(index: int, decision: object) -> Effect:
    return lambda successor: successor.advance(index, decision)


def _change_lines(index: int) -> Effect:
    def apply(successor: Successor) -> None:
        chairs, desks = successor.order_lines[index]
        changed = successor.order_lines[index] = (desks, chairs + 1)
        successor.advance(index, Change(reference="", lines=_as_lines(changed)))

    return apply


def _steps_of_suppliers(state: State) -> Iterator[Step]:
    for order_id, order in state.purchase_orders:
        if order.status not in OPEN_STATUSES:
            continue
        number = order_id.int
        yield Step(f"receive purchase order {number}", _receive(order_id, None))
        if state.allowances.partial_receipts:
            for line, received in zip(order.lines, order.received, strict=True):
                if received < line.quantity:
                    partial = _receive(order_id, {line.product_id: 1})
                    yield Step(
                        f"receive 1 of purchase order {number}", partial, "partial_receipts"
                    )
        if state.allowances.closed_short and order.status != PurchaseOrderStatus.OPEN:
            close_short = _close(
                order_id, PurchaseOrderAction.CLOSE_SHORT, PurchaseOrderClosedShort
            )
            yield Step(f"close purchase order {number} short", close_short, "closed_short")
        if state.allowances.purchase_orders_cancelled and order.status == PurchaseOrderStatus.OPEN:
            cancel = _close(order_id, PurchaseOrderAction.CANCEL, PurchaseOrderCancelled)
            yield Step(f"cancel purchase order {number}", cancel, "purchase_orders_cancelled")


def _receive(order_id: UUID, quantities: Mapping[UUID, int] | None) -> Effect:
    return lambda successor: successor.receive_goods(order_id, quantities)


def _close(order_id: UUID, action: PurchaseOrderAction, event: Callable[..., Message]) -> Effect:
    return lambda successor: successor.close_purchase_order(order_id, action, event)


# -- exploration ---------------------------------------------------------------------------------


@dataclass
class Exploration:
    """Every reachable state of a scenario.

    `origins`: by state, the state before it and the step. `certain_predecessors`: by state,
    the states from which a step that is certain to happen leads to it.
    """

    scenario: Scenario
    states: list[State] = field(default_factory=list)
    origins: list[tuple[int, str]] = field(default_factory=list)
    certain_predecessors: list[list[int]] = field(default_factory=list)
    transitions: int = 0

    def trace(self, index: int) -> str:
        steps: list[str] = []
        while index:
            index, name = self.origins[index]
            steps.append(name)
        return "; ".join(reversed(steps))


class InvariantViolated(AssertionError):
    @classmethod
    def after(cls, scenario: Scenario, violation: object, trace: str) -> Self:
        return cls(f"{scenario.name}: {violation}. Steps: {trace}")


def explore(scenario: Scenario) -> Exploration:
    """Explore breadth first, so that the steps to a violation are a shortest path.

    Raises: `InvariantViolated`.
    """
    exploration = Exploration(scenario)
    numbers: dict[State, int] = {}

    def number(state: State, predecessor: int, step: str) -> int:
        index = numbers.setdefault(state, len(numbers))
        if index == len(exploration.states):
            exploration.states.append(state)
            exploration.origins.append((predecessor, step))
            exploration.certain_predecessors.append([])
            if found := list(violations(state)):
                raise InvariantViolated.after(scenario, "; ".join(found), exploration.trace(index))
        return index

    number(_initial_state(scenario), 0, "")
    at = 0
    while at < len(exploration.states):
        for step in possible_steps(exploration.states[at]):
            try:
                state = _apply(step, scenario, exploration.states[at])
            except (AssertionError, UnexpectedMessage) as error:
                trace = f"{exploration.trace(at)}; {step.name}"
                raise InvariantViolated.after(scenario, error, trace) from error
            reached = number(state, at, step.name)
            exploration.transitions += 1
            if step.allowance is None:
                exploration.certain_predecessors[reached].append(at)
        at += 1
    _assert_every_state_reaches_an_end(exploration)
    return exploration


def _apply(step: Step, scenario: Scenario, state: State) -> State:
    successor = Successor(scenario, state)
    step.apply(successor)
    if step.allowance:
        successor.spend(step.allowance)
    return successor.state()


def _initial_state(scenario: Scenario) -> State:
    count = len(scenario.orders)
    before = State(
        processes=tuple(
            Process(
                sales_order_id=_order_id(index),
                automatic=order.automatic,
                priority=order.priority,
                placed_at=START + timedelta(hours=index),
            )
            for index, order in enumerate(scenario.orders)
        ),
        order_lines=tuple(order.quantities for order in scenario.orders),
        closed_by=(frozenset(),) * count,
        on_hand=scenario.on_hand,
        reservations=(None,) * count,
        purchase_orders=(),
        to_sales=(),
        to_stock=(),
        to_purchase=(),
        scheduled=(),
        allowances=scenario.allowances(),
    )
    successor = Successor(scenario, before)
    for index, order in enumerate(scenario.orders):
        created = SalesOrderCreated(
            sales_order_id=_order_id(index), reference="", lines=_as_lines(order.quantities)
        )
        successor.advance(index, created)
    return successor.state()


def violations(state: State) -> Iterator[str]:
    yield from _violations_in_stock(state)
    for index, process in enumerate(state.processes):
        reservation = state.reservations[index]
        if process.status == Status.DELIVERED and (
            reservation is None or reservation.status not in (ACCEPTED, SHIPPED)
        ):
            yield f"order {index} is delivered without an accepted reservation"
        if process.status == Status.AWAITING_GOODS_RECEIVED and not process.open_purchase_orders:
            yield f"order {index} awaits goods without an open purchase order"
        ordered = Counter(dict(zip(PRODUCTS, state.order_lines[index], strict=True)))
        if process.revision == 1 and process.on_order() - ordered:
            yield f"more is on order for order {index} than its lines"


def _violations_in_stock(state: State) -> Iterator[str]:
    for at, on_hand in enumerate(state.on_hand):
        available = on_hand - sum(each.reserved[at] for each in state.reservations if each)
        if available < 0:
            yield f"more of product {at} is reserved than is on hand"
        for index, each in enumerate(state.reservations):
            if each and each.status == BACKORDERED and 0 < each.shortage[at] <= available:
                yield f"order {index} is backordered although its shortage is available"
    for index, each in enumerate(state.reservations):
        if (
            each
            and each.status in (BACKORDERED, ACCEPTED)
            and (each.status == BACKORDERED) != any(each.shortage)
        ):
            yield f"reservation {index} is {each.status} and its shortage is {each.shortage}"


def _is_an_end(state: State) -> bool:
    closed = all(process.status in CLOSED_STATUSES for process in state.processes)
    return closed and not (
        state.to_sales or state.to_stock or state.to_purchase or state.scheduled
    )


def _assert_every_state_reaches_an_end(exploration: Exploration) -> None:
    """Follow the certain steps back from the ends: they must lead to every state.

    Certain steps: messages are handled, retries are due, goods are received, and users decide
    about orders that are deliverable or need attention.
    """
    reaching = {index for index, state in enumerate(exploration.states) if _is_an_end(state)}
    pending = deque(reaching)
    while pending:
        for before in exploration.certain_predecessors[pending.popleft()]:
            if before not in reaching:
                reaching.add(before)
                pending.append(before)
    for index in range(len(exploration.states)):
        if index not in reaching:
            raise InvariantViolated.after(
                exploration.scenario, "an order can never be closed", exploration.trace(index)
            )
