"""The rules alone, without Django, a database or time: every state that they can reach together, in every order of messages.

The process manager's `decide`, Stock's rule and Purchase's rules are the product's own; what carries them here is as small as it
can be. A queue hands over what has the same key in the order of publication, and everything else in any order. Timers ring at
any time, early or late.
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
from purchase.lifecycle import Outstanding, PurchaseOrderAction, Status, receive
from purchase.lifecycle import decide as decide_purchase
from sales.contract import SalesOrderCreated
from sales.process_manager import (
    AG,
    AS,
    CX,
    DD,
    DL,
    Cancel,
    Change,
    Deliver,
    Facts,
    Process,
    Retry,
    RetryReservation,
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
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
WAITING, ACCEPTED, SHIPPED, RELEASED = "waiting", "accepted", "shipped", "released"

Amounts = tuple[int, ...]  # by product, in the order of PRODUCTS
Queue = tuple[tuple[UUID, tuple[Message, ...]], ...]  # by key, in the order of publication


@dataclass(frozen=True, kw_only=True)
class Order:
    wants: Amounts
    automatic: bool = True
    priority: int = 0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is ordered, what lies on the shelf, and how often what may happen that is not the straight way."""

    name: str
    orders: tuple[Order, ...]
    shelf: Amounts = (0, 0)
    allow_partial: bool = False
    withdraw_policy: WithdrawPolicy = WithdrawPolicy.CANCELLED
    max_repurchases: int = 3
    partial_receipts: int = 0
    closed_short: int = 0
    purchases_cancelled: int = 0
    orders_cancelled: int = 0
    orders_changed: int = 0
    found: int = 0  # one more chair than was thought
    duplicates: int = 0  # a message is taken, and comes once more

    def allowances(self) -> "Allowances":
        return Allowances(*(getattr(self, name) for name in Allowances._fields))


class Allowances(NamedTuple):
    partial_receipts: int
    closed_short: int
    purchases_cancelled: int
    orders_cancelled: int
    orders_changed: int
    found: int
    duplicates: int


class Reservation(NamedTuple):
    status: str
    revision: int
    request_number: int
    wanted: Amounts
    reserved: Amounts

    @property
    def missing(self) -> Amounts:
        return tuple(
            wanted - reserved for wanted, reserved in zip(self.wanted, self.reserved, strict=True)
        )


class PurchaseOrder(NamedTuple):
    status: Status
    lines: tuple[PeggedQuantity, ...]
    received: Amounts  # by line
    receipts: int


class World(NamedTuple):
    processes: tuple[Process, ...]
    wishes: tuple[Amounts, ...]
    closed_by: tuple[frozenset[Message], ...]  # by order: what closed its purchase orders
    on_hand: Amounts
    reservations: tuple[Reservation | None, ...]
    purchases: tuple[tuple[UUID, PurchaseOrder], ...]
    to_sales: Queue
    to_stock: Queue
    to_purchase: Queue
    timers: tuple[RetryReservation, ...]
    allowed: Allowances


def _order_id(index: int) -> UUID:
    return UUID(int=100 + index)


def _quantities(amounts: Amounts) -> tuple[ProductQuantity, ...]:
    pairs = zip(PRODUCTS, amounts, strict=True)
    return tuple(
        ProductQuantity(product_id=product, quantity=quantity)
        for product, quantity in pairs
        if quantity
    )


def _amounts(lines: tuple[ProductQuantity, ...]) -> Amounts:
    by_product = {line.product_id: line.quantity for line in lines}
    return tuple(by_product.get(product, 0) for product in PRODUCTS)


def has_handled(world: World, message: Message) -> bool:
    """Has Stock handled it? It has, once it does not wait in Stock's queue any more."""
    return all(message not in waiting for _, waiting in world.to_stock)


class Step:
    """The world, being changed by one message or one act."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self._scenario = scenario
        self._before = world
        self.processes = list(world.processes)
        self.wishes = list(world.wishes)
        self.closed_by_message_id = list(world.closed_by_message_id)
        self.on_hand = list(world.on_hand)
        self.reservations = list(world.reservations)
        self.purchases = dict(world.purchases)
        self.to_sales = {key: list(waiting) for key, waiting in world.to_sales}
        self.to_stock = {key: list(waiting) for key, waiting in world.to_stock}
        self.to_purchase = {key: list(waiting) for key, waiting in world.to_purchase}
        self.timers = list(world.timers)
        self.allowed = world.allowed

    def done(self) -> World:
        return World(
            processes=tuple(self.processes),
            wishes=tuple(self.wishes),
            closed_by_message_id=tuple(self.closed_by_message_id),
            on_hand=tuple(self.on_hand),
            reservations=tuple(self.reservations),
            purchases=tuple(sorted(self.purchases.items(), key=lambda item: item[0])),
            to_sales=_queue(self.to_sales),
            to_stock=_queue(self.to_stock),
            to_purchase=_queue(self.to_purchase),
            timers=tuple(
                sorted(self.timers, key=lambda timer: (timer.sales_order_id, timer.request_number))
            ),
            allowed=self.allowed,
        )

    def spend(self, allowance: str) -> None:
        self.allowed = self.allowed._replace(**{allowance: getattr(self.allowed, allowance) - 1})

    # -- Sales --------------------------------------------------------------------------------------------------------

    def advance(self, index: int, message: object) -> None:
        before = self.processes[index]
        caught_up = all(
            has_handled(self._before, each) for each in self.closed_by_message_id[index]
        )
        facts = Facts(
            new_purchase_order_id=UUID(int=1000 * (index + 1) + before.request_number),
            lines=_quantities(self.wishes[index]),
            stock_has_caught_up=caught_up,
            allow_partial=self._scenario.allow_partial,
            retry_countdown=1.0,
            retry_countdown_max=1.0,  # how long it waits makes no difference here
            max_repurchases=self._scenario.max_repurchases,
            withdraw_policy=self._scenario.withdraw_policy,
        )
        decision = decide(before, message, facts)
        after = self.processes[index] = decision.process
        if isinstance(message, CLOSING) and len(after.open_purchase_orders) < len(
            before.open_purchase_orders
        ):
            self.closed_by_message_id[index] |= {message}
        for each in decision.messages:
            match each:
                case RetryReservation():
                    self.set_timer(each)
                case MakeReservation():
                    late = [
                        closing
                        for closing in self.closed_by_message_id[index]
                        if closing in self.to_stock.get(closing.key, ())
                    ]
                    assert not late, "Sales asked before Stock had caught up"
                    self._tell(self.to_stock, each)
                case ReleaseReservation() | ShipReservation():
                    self._tell(self.to_stock, each)
                case CreatePurchaseOrder() | WithdrawPurchaseOrder():
                    self._tell(self.to_purchase, each)

    def set_timer(self, timer: RetryReservation) -> None:
        self.timers.append(timer)

    def hear(self, message: Message) -> None:
        """Sales hears from Stock or from Purchase."""
        match message:
            case ReservationAccepted() | ReservationRejected():
                self.advance(message.reservation_id.int - 100, message)
            case GoodsReceived() | PurchaseOrderCancelled() | PurchaseOrderClosedShort():
                self.advance(message.purchase_order_id.int // 1000 - 1, message)

    # -- Stock --------------------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        match message:
            case MakeReservation():
                self.reserve(message)
            case ReleaseReservation():
                self.release(message.reservation_id.int - 100)
            case ShipReservation():
                self.ship(message.reservation_id.int - 100)
            case GoodsReceived():
                self.arrive(message)
        self.closed_by_message_id = [
            closings - {message} for closings in self.closed_by_message_id
        ]  # handled: it need not be remembered

    def reserve(self, request: MakeReservation) -> None:
        index = request.reservation_id.int - 100
        known = self.reservations[index]
        wanted = _amounts(request.lines)
        if known is None:
            known = Reservation(
                WAITING, request.revision, request.request_number, wanted, (0,) * len(PRODUCTS)
            )
            available = {product: self._available(at) for at, product in enumerate(PRODUCTS)}
            needs = {line.product_id: line.quantity for line in request.lines}
            promise = initial_reservation(needs, available, allow_partial=request.allow_partial)
            self.reservations[index] = known
        elif known.status in (SHIPPED, RELEASED) or request.revision < known.revision:
            return
        else:
            if request.revision > known.revision:
                self._want(index, request.revision, wanted)
            promise = {product: self._share(index, at) for at, product in enumerate(PRODUCTS)}
        self.reservations[index] = self._reservation(index)._replace(
            request_number=request.request_number
        )
        for at, product in enumerate(PRODUCTS):
            self._hold(index, at, promise.get(product, 0))
        if not self._accept_if_fully_reserved(index):
            known = self._reservation(index)
            rejected = ReservationRejected(
                reservation_id=_order_id(index),
                revision=known.revision,
                request_number=known.request_number,
                missing=_quantities(known.missing),
            )
            self._tell(self.to_sales, rejected)

    def release(self, index: int) -> None:
        known = self.reservations[index]
        nothing = (0,) * len(PRODUCTS)
        if known is None:
            self.reservations[index] = Reservation(RELEASED, 0, 0, nothing, nothing)
            return
        assert known.status != SHIPPED, "a reservation was released that was shipped"
        if known.status != RELEASED:
            self.reservations[index] = known._replace(status=RELEASED, reserved=nothing)
            for at, reserved in enumerate(known.reserved):
                if reserved:
                    self._serve(at)

    def ship(self, index: int) -> None:
        known = self._reservation(index)
        if known.status == SHIPPED:
            return
        assert known.status == ACCEPTED, "a reservation was shipped that Stock did not accept"
        self.reservations[index] = known._replace(status=SHIPPED, reserved=(0,) * len(PRODUCTS))
        for at, reserved in enumerate(known.reserved):
            self.on_hand[at] -= reserved

    def arrive(self, receipt: GoodsReceived) -> None:
        arrived: Counter[UUID] = Counter()
        pegs: dict[UUID, Counter[UUID]] = {product: Counter() for product in PRODUCTS}
        for line in receipt.lines:
            assert line.pegged_to
            arrived[line.product_id] += line.quantity
            pegs[line.product_id][line.pegged_to] += line.quantity
        for at, product in enumerate(PRODUCTS):
            if arrived[product]:
                self.on_hand[at] += arrived[product]
                self._serve(at, pegs[product])

    def find(self, at: int) -> None:
        self.on_hand[at] += 1
        self._serve(at)

    def _want(self, index: int, revision: int, wanted: Amounts) -> None:
        known = self._reservation(index)
        reserved = tuple(min(pair) for pair in zip(known.reserved, wanted, strict=True))
        self.reservations[index] = Reservation(
            WAITING, revision, known.request_number, wanted, reserved
        )
        for at, (before, after) in enumerate(zip(known.reserved, reserved, strict=True)):
            if after < before:
                self._serve(at)

    def _serve(self, at: int, pegs: Mapping[UUID, int] | None = None) -> None:
        waits = self._waits(at)
        available = self._available(at)
        grants = allocate(available, waits, pegs)
        for order_id, pegged in (pegs or {}).items():
            if order_id in waits:
                due = min(pegged, waits[order_id].missing, available)
                assert grants.get(order_id, 0) >= due, (
                    "what was bought for one who waits went to somebody else"
                )
        for order_id, quantity in grants.items():
            self._hold(order_id.int - 100, at, quantity)
            self._accept_if_fully_reserved(order_id.int - 100)

    def _share(self, index: int, at: int) -> int:
        mine = {
            order_id: wait
            for order_id, wait in self._waits(at).items()
            if order_id == _order_id(index)
        }
        return allocate(self._available(at), mine).get(_order_id(index), 0)

    def _waits(self, at: int) -> dict[UUID, Backorder]:
        return {
            _order_id(index): Backorder(
                missing=known.missing[at],
                priority=self._scenario.orders[index].priority,
                placed_at=self.processes[index].placed_at,
            )
            for index, known in enumerate(self.reservations)
            if known and known.status == WAITING and known.missing[at]
        }

    def _hold(self, index: int, at: int, quantity: int) -> None:
        known = self._reservation(index)
        reserved = list(known.reserved)
        reserved[at] += quantity
        self.reservations[index] = known._replace(reserved=tuple(reserved))

    def _accept_if_fully_reserved(self, index: int) -> bool:
        known = self._reservation(index)
        if any(known.missing):
            return False
        self.reservations[index] = known._replace(status=ACCEPTED)
        answer = ReservationAccepted(
            reservation_id=_order_id(index),
            revision=known.revision,
            request_number=known.request_number,
        )
        self._tell(self.to_sales, answer)
        return True

    def _reservation(self, index: int) -> Reservation:
        known = self.reservations[index]
        assert known, "Stock was told of a reservation that it does not know"
        return known

    def _available(self, at: int) -> int:
        return self.on_hand[at] - sum(known.reserved[at] for known in self.reservations if known)

    # -- Purchase -----------------------------------------------------------------------------------------------------

    def order(self, command: Message) -> None:
        match command:
            case CreatePurchaseOrder():
                if command.purchase_order_id not in self.purchases:
                    order = PurchaseOrder(Status.OPEN, command.lines, (0,) * len(command.lines), 0)
                    self.purchases[command.purchase_order_id] = order
            case WithdrawPurchaseOrder():
                known = self.purchases.get(
                    command.purchase_order_id, PurchaseOrder(Status.OPEN, (), (), 0)
                )
                self.purchases[command.purchase_order_id] = known
                self.end(
                    command.purchase_order_id, PurchaseOrderAction.WITHDRAW, PurchaseOrderCancelled
                )

    def end(self, order_id: UUID, act: PurchaseOrderAction, told: Callable[..., Message]) -> None:
        known = self.purchases[order_id]
        after = decide_purchase(known.status, act, reference="")
        if after != known.status:
            self.purchases[order_id] = known._replace(status=after)
            self._tell_both(told(purchase_order_id=order_id, number=known.receipts + 1))

    def receive(self, order_id: UUID, arrived: Mapping[UUID, int] | None) -> None:
        known = self.purchases[order_id]
        lines = [
            Outstanding(
                product_id=line.product_id, sku="", quantity=line.quantity, received=received
            )
            for line, received in zip(known.lines, known.received, strict=True)
        ]
        status, shares = receive(known.status, lines, arrived, reference="")
        received = tuple(
            before + share for before, share in zip(known.received, shares, strict=True)
        )
        self.purchases[order_id] = known._replace(
            status=status, received=received, receipts=known.receipts + 1
        )
        came = tuple(
            replace(line, quantity=share)
            for line, share in zip(known.lines, shares, strict=True)
            if share
        )
        goods = GoodsReceived(
            purchase_order_id=order_id,
            receipt_id=UUID(int=order_id.int * 100 + known.receipts),
            lines=came,
            complete=status == Status.RECEIVED,
            number=known.receipts + 1,
        )
        self._tell_both(goods)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _tell(self, queue: dict[UUID, list[Message]], message: Message) -> None:
        queue.setdefault(message.key, []).append(message)

    def _tell_both(self, message: Message) -> None:
        self._tell(self.to_sales, message)
        self._tell(self.to_stock, message)


def _queue(waiting: Mapping[UUID, list[Message]]) -> Queue:
    return tuple(sorted((key, tuple(messages)) for key, messages in waiting.items() if messages))


# -- what can happen next -------------------------------------------------------------------------------------------------

Doing = Callable[[Step], None]


class Possible(NamedTuple):
    """`needs`: what it uses up of what is allowed. None: it is bound to happen, once nothing else does."""

    name: str
    does: Doing
    needs: str | None = None


def possible(world: World) -> Iterator[Possible]:
    yield from _messages(world)
    yield from _people(world)
    yield from _suppliers(world)
    if world.allowed.found:
        yield Possible("a chair is found", lambda step: step.find(0), "found")


def _messages(world: World) -> Iterator[Possible]:
    for name, take in (
        ("to_sales", Step.hear),
        ("to_stock", Step.take),
        ("to_purchase", Step.order),
    ):
        queue: Queue = getattr(world, name)
        for key, (first, *_) in queue:

            def hand_over(
                step: Step,
                name: str = name,
                key: UUID = key,
                take: Callable[[Step, Message], None] = take,
            ) -> None:
                take(step, getattr(step, name)[key].pop(0))

            def hand_over_a_copy(
                step: Step, first: Message = first, take: Callable[[Step, Message], None] = take
            ) -> None:
                take(step, first)

            yield Possible(f"{type(first).__name__} {key.int} {name}", hand_over)
            if world.allowed.duplicates and _may_come_twice(first, name):
                yield Possible(
                    f"{type(first).__name__} {key.int} {name}, and once more",
                    hand_over_a_copy,
                    "duplicates",
                )
    for timer in world.timers:
        index = timer.sales_order_id.int - 100

        def ring(step: Step, timer: RetryReservation = timer, index: int = index) -> None:
            step.timers.remove(timer)
            step.advance(index, timer)

        yield Possible(f"the timer {index} rings", ring)


def _may_come_twice(message: Message, to: str) -> bool:
    """The kernel hands nothing over twice; these may even be said twice."""
    if to == "to_stock":
        return isinstance(message, ReleaseReservation | ShipReservation)
    return to == "to_purchase" or not isinstance(message, ReservationRejected)


def _people(world: World) -> Iterator[Possible]:
    for index, process in enumerate(world.processes):
        if process.state == DL:
            yield Possible(f"deliver {index}", _decided(index, Deliver(reference="")))
        if process.state == AS and process.needs_attention:
            yield Possible(f"try {index} again", _decided(index, Retry(reference="")))
        if process.state in (AS, AG, DL):
            if world.allowed.orders_cancelled:
                yield Possible(
                    f"cancel {index}", _decided(index, Cancel(reference="")), "orders_cancelled"
                )
            if world.allowed.orders_changed:
                yield Possible(f"change {index}", _changed(index), "orders_changed")


def _decided(index: int, what: object) -> Doing:
    return lambda step: step.advance(index, what)


def _changed(index: int) -> Doing:
    def change(step: Step) -> None:
        chairs, desks = step.wishes[index]
        step.wishes[index] = (desks, chairs + 1)
        step.advance(index, Change(reference="", lines=_quantities(step.wishes[index])))

    return change


def _suppliers(world: World) -> Iterator[Possible]:
    for order_id, order in world.purchases:
        if order.status not in (Status.OPEN, Status.PARTIALLY_RECEIVED):
            continue
        yield Possible(f"receive {order_id.int}", lambda step, it=order_id: step.receive(it, None))  # type: ignore[misc]
        if world.allowed.partial_receipts:
            for line, received in zip(order.lines, order.received, strict=True):
                if received < line.quantity:
                    part = {line.product_id: 1}
                    yield Possible(
                        f"receive one of {order_id.int}",
                        lambda step, it=order_id, part=part: step.receive(it, part),  # type: ignore[misc]
                        "partial_receipts",
                    )
        if world.allowed.closed_short and order.status == Status.PARTIALLY_RECEIVED:
            yield Possible(
                f"close {order_id.int} short",
                _ended(order_id, PurchaseOrderAction.CLOSE_SHORT),
                "closed_short",
            )
        if world.allowed.purchases_cancelled and order.status == Status.OPEN:
            yield Possible(
                f"cancel purchase order {order_id.int}",
                _ended(order_id, PurchaseOrderAction.CANCEL),
                "purchases_cancelled",
            )


def _ended(order_id: UUID, act: PurchaseOrderAction) -> Doing:
    told = (
        PurchaseOrderClosedShort
        if act == PurchaseOrderAction.CLOSE_SHORT
        else PurchaseOrderCancelled
    )
    return lambda step: step.end(order_id, act, told)


# -- exploring ------------------------------------------------------------------------------------------------------------


@dataclass
class Explored:
    scenario: Scenario
    worlds: list[World] = field(default_factory=list)
    came_from: list[tuple[int, str]] = field(default_factory=list)
    bound: list[list[int]] = field(
        default_factory=list
    )  # by world: from which ones it is bound to be reached
    transitions: int = 0

    def story(self, index: int) -> str:
        told: list[str] = []
        while index:
            index, name = self.came_from[index]
            told.append(name)
        return "; ".join(reversed(told))


class Broken(AssertionError):
    @classmethod
    def of(cls, scenario: Scenario, what: object, story: str) -> Self:
        return cls(f"{scenario.name}: {what}. It happens so: {story}")


def explore(scenario: Scenario) -> Explored:
    """Breadth first, so that the story of what breaks is a shortest one. Raises `Broken`."""
    explored = Explored(scenario)
    numbers: dict[World, int] = {}

    def number(world: World, came_from: int, name: str) -> int:
        known = numbers.setdefault(world, len(numbers))
        if known == len(explored.worlds):
            explored.worlds.append(world)
            explored.came_from.append((came_from, name))
            explored.bound.append([])
            if off := list(what_is_off(world)):
                raise Broken.of(scenario, "; ".join(off), explored.story(known))
        return known

    number(_beginning(scenario), 0, "")
    at = 0
    while at < len(explored.worlds):
        for event in possible(explored.worlds[at]):
            try:
                world = _after(event, scenario, explored.worlds[at])
            except (AssertionError, UnexpectedMessage) as broken:
                raise Broken.of(
                    scenario, broken, f"{explored.story(at)}; {event.name}"
                ) from broken
            reached = number(world, at, event.name)
            explored.transitions += 1
            if event.needs is None:
                explored.bound[reached].append(at)
        at += 1
    _every_world_reaches_an_end(explored)
    return explored


def _after(event: Possible, scenario: Scenario, world: World) -> World:
    step = Step(scenario, world)
    event.does(step)
    if event.needs:
        step.spend(event.needs)
    return step.done()


def _beginning(scenario: Scenario) -> World:
    nobody = tuple(
        Process(
            sales_order_id=_order_id(index),
            automatic=order.automatic,
            priority=order.priority,
            placed_at=BEGINNING + timedelta(hours=index),
        )
        for index, order in enumerate(scenario.orders)
    )
    count = len(scenario.orders)
    wishes = tuple(order.wants for order in scenario.orders)
    empty = World(
        nobody,
        wishes,
        (frozenset(),) * count,
        scenario.shelf,
        (None,) * count,
        (),
        (),
        (),
        (),
        (),
        scenario.allowances(),
    )
    step = Step(scenario, empty)
    for index, process in enumerate(nobody):
        lines = _quantities(wishes[index])
        step.advance(
            index,
            SalesOrderCreated(sales_order_id=process.sales_order_id, reference="", lines=lines),
        )
    return step.done()


def what_is_off(world: World) -> Iterator[str]:
    yield from _off_in_stock(world)
    for index, process in enumerate(world.processes):
        known = world.reservations[index]
        if process.state == DD and (known is None or known.status not in (ACCEPTED, SHIPPED)):
            yield f"order {index} is delivered, and Stock knows nothing of it"
        if process.state == AG and not process.open_purchase_orders:
            yield f"order {index} awaits goods that nobody has ordered"
        wanted = Counter(dict(zip(PRODUCTS, world.wishes[index], strict=True)))
        if process.revision == 1 and process.on_order() - wanted:
            yield f"more is on order for order {index} than it wants"


def _off_in_stock(world: World) -> Iterator[str]:
    for at, on_hand in enumerate(world.on_hand):
        available = on_hand - sum(known.reserved[at] for known in world.reservations if known)
        if available < 0:
            yield f"more of product {at} is reserved than there is"
        for index, known in enumerate(world.reservations):
            if known and known.status == WAITING and 0 < known.missing[at] <= available:
                yield f"order {index} waits for what is there"
    for index, known in enumerate(world.reservations):
        if (
            known
            and (known.status == WAITING) != any(known.missing)
            and known.status in (WAITING, ACCEPTED)
        ):
            yield f"the reservation of order {index} is {known.status}, and lacks {known.missing}"


def _is_an_end(world: World) -> bool:
    ended = all(process.state in (DD, CX) for process in world.processes)
    return ended and not (world.to_sales or world.to_stock or world.to_purchase or world.timers)


def _every_world_reaches_an_end(explored: Explored) -> None:
    """By what is bound to happen: messages are handed over, timers ring, goods arrive, and people do what is asked of them."""
    reaches = {index for index, world in enumerate(explored.worlds) if _is_an_end(world)}
    open_ended = deque(reaches)
    while open_ended:
        for before in explored.bound[open_ended.popleft()]:
            if before not in reaches:
                reaches.add(before)
                open_ended.append(before)
    for index in range(len(explored.worlds)):
        if index not in reaches:
            raise Broken.of(
                explored.scenario,
                "from here on an order can only wait for ever",
                explored.story(index),
            )
