"""Orderflow in one thread with one clock and generated ids, so that each run can be repeated.

A Hypothesis state machine. It draws what users, suppliers and the warehouse do, which consumer
handles how many messages, and which wake-ups are lost or duplicated. It also draws the statement
or commit at which a process crashes, a transient error occurs, or another process changes rows.
The services, the handlers, the kernel and the database are the real ones.
"""

import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import IntegrityError, OperationalError, connection
from django.db.models import F, Model, QuerySet
from django.test import override_settings
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import purchase.services
import sales.services
from orderflow.catalog.services import create_product
from orderflow.core.errors import DomainError
from orderflow.core.quantities import ProductQuantity
from orderflow.event_feed.models import FeedEntry
from orderflow.messaging import consuming, dead_letters
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Consumer, QueuedMessage, StoredMessage
from orderflow.messaging.queries import has_due_messages
from orderflow.messaging.signals import messages_available
from orderflow.messaging.tasks import sweep
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    Receipt,
    ReceiptLine,
)
from purchase.services import (
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    receive_goods,
    reschedule,
)
from sales.models import (
    LinkedPurchaseOrder,
    LinkedPurchaseOrderLine,
    OrderStatus,
    OrderStatusChange,
    SalesOrder,
    SalesOrderLine,
)
from sales.services import (
    SalesOrderDraft,
    cancel_orders,
    change_order,
    deliver_orders,
    place_orders,
    retry_reservations,
)
from stock.models import Reservation, ReservationLine, StockLevel, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.fault_injection.invariants import (
    assert_every_order_is_closed,
    assert_invariants,
    requested_before_stock_caught_up,
)

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
CONSUMERS = ("sales", "stock", "purchase", "feed")
FREQUENT, RARE = ("chair", "desk"), ("lamp", "sofa", "table")
INJECTED_ERROR = "error injected by the simulation"
LOCK_TIMEOUT = "30ms"  # of a concurrent change: the holder of the lock is stopped meanwhile
# The tables that a run fills, in an order in which their rows can be deleted.
FILLED_MODELS: list[type[Model]] = [
    FeedEntry,
    QueuedMessage,
    Consumer,
    LinkedPurchaseOrderLine,
    LinkedPurchaseOrder,
    OrderStatusChange,
    OrderStatus,
    SalesOrderLine,
    SalesOrder,
    StockMovement,
    ReservationLine,
    Reservation,
    StockLevel,
    ReceiptLine,
    Receipt,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    PurchaseOrder,
    StoredMessage,
]

Act = tuple[str, Any]  # the name of a method of the simulation, without "_", and its arguments


# -- faults --------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends. No handler may catch this."""


class TransientError(IntegrityError):
    """A handler fails, or a deferred constraint fails at the commit."""


@dataclass(frozen=True)
class Fault:
    """A fault at every nth point of a drain, at most `times`.

    `point`: "statement", "handled" (a batch), "commit", or "wake-ups" after a commit. `kind`:
    "crash", "error", or "locked": the database asks to repeat the transaction.
    """

    point: str
    every: int
    kind: str
    times: int


@dataclass(frozen=True)
class ConcurrentChange:
    """Before the nth write, another connection changes the rows that this consumer has read."""

    every: int
    acts: dict[str, Act]  # by draining consumer
    point: str = "write"
    times: int = 1


@dataclass(frozen=True)
class Handling:
    """After some acts and a delay, a consumer with due messages drains.

    `seconds`: time of the drain, of which each statement takes a part; with 0 only one batch.
    """

    acts: list[Act]
    delay: float
    consumer: int
    batch: int
    seconds: float
    fault: Fault | ConcurrentChange | None


# -- what is drawn -------------------------------------------------------------------------------


def _any_of(*weighted: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`one_of` counts a repeated strategy once; this counts each repetition."""
    return st.sampled_from(weighted).flatmap(lambda each: each)


_index = st.integers(0, 5)  # of existing rows, oldest first
_sku = st.sampled_from([*FREQUENT, *FREQUENT, *FREQUENT, *RARE])
_lines = st.lists(st.tuples(_sku, st.integers(1, 4)), min_size=1, max_size=5)
_delivery_mode = st.sampled_from(["automatic", "automatic", "manual"])
_place = st.tuples(st.just("place"), st.tuples(_lines, _delivery_mode, st.integers(0, 1)))
_change = st.tuples(st.just("change"), st.tuples(_index, _lines))
_shares = st.lists(st.integers(0, 3), min_size=1, max_size=3)
_receive = st.tuples(st.just("receive"), st.tuples(_index, st.none() | _shares))
_reschedule = st.tuples(st.just("reschedule"), st.tuples(_index, st.sampled_from([-1, 1])))
_adjustment = st.tuples(st.sampled_from(FREQUENT), st.sampled_from([-2, -1, 2, 4, 6]))
_adjust = st.tuples(st.just("adjust"), _adjustment)
_cancel, _deliver, _retry, _repeat, _close_short, _cancel_purchase_order, _reverse, _drain = (
    st.tuples(st.just(act), _index)
    for act in (
        "cancel",
        "deliver",
        "retry",
        "repeat",
        "close_short",
        "cancel_purchase_order",
        "reverse",
        "drain",
    )
)
_rare_acts = [
    _change,
    _cancel,
    _deliver,
    _retry,
    _close_short,
    _cancel_purchase_order,
    _reschedule,
    _reverse,
]
_acts = _any_of(*4 * [_place], *6 * [_receive], *2 * [_adjust], *2 * [_repeat], *_rare_acts)
_kinds = st.sampled_from(["crash", "error", "locked"])
_times = st.sampled_from([1, 1, 2, 3])
_concurrent_acts = st.fixed_dictionaries(  # each changes rows that a drain of the consumer reads
    {
        "sales": _any_of(_change, _cancel, _deliver, _drain),
        "stock": _any_of(*3 * [_adjust], _reverse, _drain),
        "purchase": _any_of(_receive, _receive, _close_short, _cancel_purchase_order, _reschedule),
        "feed": _drain,
    }
)
_points = st.sampled_from(["handled", "commit", "wake-ups"])
_faults = st.one_of(
    st.builds(Fault, st.just("statement"), st.integers(1, 30), _kinds, _times),
    st.builds(Fault, _points, st.integers(1, 3), _kinds, _times),
)
_concurrent_changes = st.builds(ConcurrentChange, st.integers(1, 2), _concurrent_acts)
# SQLite has a single writer: nothing can change rows during a drain.
_disturbances = (
    _faults if connection.vendor == "sqlite" else _any_of(_faults, *3 * [_concurrent_changes])
)
_work = st.lists(
    st.builds(
        Handling,
        acts=st.lists(_acts, max_size=1),
        delay=st.sampled_from([0, 0, 0, 3]),
        consumer=_index,
        batch=st.sampled_from([1, 2, 50, 50]),
        seconds=st.sampled_from([0, 1000, 1000]),
        fault=_any_of(st.none(), _disturbances),
    ),
    min_size=1,
    max_size=6,
)


class Simulation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.clock = self._stack.enter_context(time_machine.travel(START, tick=False))
        self._seconds = 0.0
        self._ids = random.Random(1)
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(uuid, "uuid4", self._new_id)
        patch.setattr(consuming, "monotonic", lambda: self._seconds)
        patch.setattr(consuming, "sleep", self._advance_clock)
        patch.setattr(consuming, "random", random.Random(1))
        messages_available.connect(self._record_wake_up)
        self._stack.callback(messages_available.disconnect, self._record_wake_up)
        self.wake_ups: list[tuple[datetime, str]] = []  # due time and consumer, as in the broker
        self._requests: list[Callable[[], object]] = []  # successful ones, to repeat them
        self._points = Counter[str]()
        self._fault: Fault | ConcurrentChange | None = None
        self._fired = 0
        connection.close()  # drops the commit hooks of a run that failed
        for model in FILLED_MODELS:
            model._default_manager.all()._raw_delete(connection.alias)
        self._products = {
            sku: create_product(sku, sku.title(), product_id=self._new_id()).id
            for sku in (*FREQUENT, *RARE)
        }

    @initialize(
        purchase_quantity=st.sampled_from(["full_line", "shortage"]),
        tolerance=st.sampled_from([0, 50]),
        withdraw_policy=st.sampled_from(["on_cancel", "when_unneeded", "never"]),
        stock=st.integers(0, 3),
        orders=st.lists(_place, min_size=4, max_size=8),
        work=_work,
    )
    def start(
        self,
        purchase_quantity: str,
        tolerance: int,
        withdraw_policy: str,
        stock: int,
        orders: list[Act],
        work: list[Handling],
    ) -> None:
        chosen = override_settings(
            ORDERFLOW_PURCHASE_QUANTITY=purchase_quantity,
            ORDERFLOW_OVER_RECEIPT_TOLERANCE=tolerance,
            ORDERFLOW_WITHDRAW_PURCHASE_ORDERS=withdraw_policy,
        )
        self._stack.enter_context(chosen)
        for sku in FREQUENT if stock else ():
            self._adjust(sku, stock)
        for order in orders:
            self._do(order)
        self._handle(work)

    @rule(act=_acts, work=_work)
    def act(self, act: Act, work: list[Handling]) -> None:
        self._do(act)
        self._handle(work)

    # -- time ------------------------------------------------------------------------------------

    @precondition(lambda self: self.wake_ups)
    @rule(
        index=_index,
        fault=st.sampled_from(["none", "none", "duplicated", "lost"]),
        delay=st.sampled_from([0, 3, 60, 3600]),
        work=_work,
    )
    def wake_up(self, index: int, fault: str, delay: int, work: list[Handling]) -> None:
        """A wake-up is received when it is due or later, or it is lost or duplicated."""
        due_at, consumer = self.wake_ups[index % len(self.wake_ups)]
        if fault != "duplicated":
            self.wake_ups.remove((due_at, consumer))
        self._advance_clock(delay)
        if fault != "lost" and due_at <= timezone.now():
            drain(consumer)
        self._handle(work)

    @rule(delay=st.sampled_from([0.5, 60, 3600]), broker_is_emptied=st.booleans(), work=_work)
    def beat(self, delay: float, broker_is_emptied: bool, work: list[Handling]) -> None:
        self._advance_clock(delay)
        if broker_is_emptied:
            self.wake_ups.clear()
        sweep()
        purchase.services.mark_overdue()
        sales.services.mark_overdue()
        self._handle(work)

    # -- invariants ------------------------------------------------------------------------------

    @invariant()
    def assert_invariants(self) -> None:
        assert_invariants(ignored_errors=(INJECTED_ERROR, "Poison message"))

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self._recover()
        finally:
            self._stack.close()

    def _recover(self) -> None:
        """Close every order: without faults, with all goods received and all decisions made."""
        for _ in range(40):
            self._advance_clock(600.0)
            sweep()
            while self.wake_ups:
                due_at, consumer = self.wake_ups.pop(0)
                if due_at <= timezone.now():
                    drain(consumer)
            failed = QueuedMessage.objects.dead_letters().values_list("pk", flat=True)
            dead_letters.replay(list(failed), actor="Ada", reason="the fault is fixed")
            deliverable = OrderStatus.objects.filter(status="deliverable")
            deliver_orders(list(deliverable.values_list("pk", flat=True)), actor="Ada")
            needing_attention = OrderStatus.objects.filter(needs_attention=True)
            retry_reservations(list(needing_attention.values_list("pk", flat=True)), actor="Ada")
            receive_goods(
                [ReceiptDraft(purchase_order_id=each.pk) for each in PurchaseOrder.objects.open()]
            )
            if not QueuedMessage.objects.exists():
                break
        self.assert_invariants()
        assert_every_order_is_closed()

    # -- acts ------------------------------------------------------------------------------------

    def _do(self, act: Act) -> None:
        name, arguments = act
        with suppress(DomainError):  # a rejected request changes nothing
            getattr(self, f"_{name}")(
                *(arguments if isinstance(arguments, tuple) else (arguments,))
            )

    def _request(self, request: Callable[[], object]) -> None:
        request()
        self._requests.append(request)

    def _place(self, lines: list[tuple[str, int]], delivery_mode: str, priority: int) -> None:
        draft = SalesOrderDraft(
            id=uuid.uuid4(),
            lines=self._quantities(lines),
            delivery_mode=delivery_mode,
            priority=priority,
            placed_at=timezone.now(),
        )
        self._request(lambda: place_orders([draft]))

    def _change(self, index: int, lines: list[tuple[str, int]]) -> None:
        change_order(_open_sales_order(index), self._quantities(lines), actor="Ada")

    def _cancel(self, index: int) -> None:
        order_id = _open_sales_order(index)
        self._request(lambda: cancel_orders([order_id], actor="Ada"))

    def _deliver(self, index: int) -> None:
        deliverable = OrderStatus.objects.filter(status="deliverable").order_by("pk")
        order_id = _pick(deliverable, index)
        self._request(lambda: deliver_orders([order_id], actor="Ada"))

    def _retry(self, index: int) -> None:
        retry_reservations([_open_sales_order(index)], actor="Ada")

    def _repeat(self, index: int) -> None:
        """Repeat a request: it succeeds again and has no further effect."""
        if self._requests:
            before = StoredMessage.objects.count(), StockMovement.objects.count()
            self._requests[-1 - index % len(self._requests)]()
            after = StoredMessage.objects.count(), StockMovement.objects.count()
            assert after == before, "a repeated request had an effect"

    def _receive(self, index: int, shares: list[int] | None) -> None:
        order_id = _open_purchase_order(index)
        quantities = None
        if shares is not None:
            outstanding = PurchaseOrderLine.objects.filter(
                order=order_id, received__lt=F("quantity")
            )
            rows = outstanding.order_by("product__sku", "id")
            quantities = [
                ProductQuantity(product_id=row.product_id, quantity=share)
                for row, share in zip(rows, shares, strict=False)
                if share
            ]
        draft = ReceiptDraft(id=uuid.uuid4(), purchase_order_id=order_id, lines=quantities)
        self._request(lambda: receive_goods([draft]))

    def _close_short(self, index: int) -> None:
        close_short([_open_purchase_order(index)], actor="Ada")

    def _cancel_purchase_order(self, index: int) -> None:
        cancel_purchase_orders([_open_purchase_order(index)], actor="Ada")

    def _reschedule(self, index: int, days: int) -> None:
        order_id = _open_purchase_order(index)
        reschedule(order_id, timezone.now() + timedelta(days=days), actor="Ada")

    def _adjust(self, sku: str, quantity: int) -> None:
        adjustment = Adjustment(
            id=uuid.uuid4(), product_id=self._products[sku], quantity=quantity, reason=""
        )
        self._request(lambda: adjust_stock([adjustment], actor="Ada"))

    def _reverse(self, index: int) -> None:
        rows = ReceiptLine.objects.select_related("line").order_by("id")
        if row := rows[index : index + 1].first():
            reversal = Reversal(
                id=uuid.uuid4(),
                receipt_id=row.receipt_id,
                product_id=row.line.product_id,
                quantity=1,
                reason="",
            )
            self._request(lambda: reverse_receipt(reversal, actor="Ada"))

    def _drain(self, batch: int) -> None:
        drain(self._draining, batch=batch or None, seconds=0)

    # -- faults ----------------------------------------------------------------------------------

    def _handle(self, work: list[Handling]) -> None:
        for each in work:
            for act in each.acts:
                self._do(act)
            self._advance_clock(each.delay)
            first = each.consumer % len(CONSUMERS)
            candidates = [*CONSUMERS[first:], *CONSUMERS[:first]]
            draining = next(filter(has_due_messages, candidates), None)
            if draining is None:
                continue
            self._draining = draining
            self._points, self._fault, self._fired = Counter[str](), each.fault, 0
            self._postponed: Act | None = None
            with (
                connection.execute_wrapper(self._at_statement),
                self._at_commits(),
                suppress(Crash, TransientError, OperationalError),
            ):
                drain(draining, batch=each.batch, seconds=each.seconds)
            self._fault = None
            if self._postponed:
                self._do(self._postponed)
            assert requested_before_stock_caught_up() == []

    def _at_statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self._advance_clock(0.001)
        self._at_point("statement")
        # Everything that a write of a context depends on was read before it.
        if sql.startswith(("INSERT", "UPDATE")) and "messaging_" not in sql:
            self._at_point("write")
        return execute(sql, params, many, context)

    @contextmanager
    def _at_commits(self) -> Iterator[None]:
        """Add points: a batch is handled, before a commit, between a commit and its wake-ups."""

        def stopping_at(point: str, original: Callable[..., None]) -> Callable[..., None]:
            def stop(*arguments: Any) -> None:
                self._at_point(point)
                original(*arguments)

            return stop

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(consuming, "_delete", stopping_at("handled", consuming._delete))
            for point, name in (("commit", "_commit"), ("wake-ups", "run_and_clear_commit_hooks")):
                patch.setattr(connection, name, stopping_at(point, getattr(connection, name)))
            yield

    def _at_point(self, point: str) -> None:
        self._points[point] += 1
        fault = self._fault
        if fault is None or point != fault.point or self._fired == fault.times:
            return
        if self._points[point] % fault.every == 0:
            self._fired += 1
            self._inject(fault)

    def _inject(self, fault: Fault | ConcurrentChange) -> None:
        if isinstance(fault, ConcurrentChange):
            self._do_concurrently(fault.acts[self._draining])
        elif fault.kind == "crash":
            self._fault = None
            connection.close()
            raise Crash
        elif fault.kind == "error":
            raise TransientError(INJECTED_ERROR)
        else:
            raise OperationalError("database is locked")

    def _do_concurrently(self, act: Act) -> None:
        """Do it on another connection; after the drain if it has to wait for a lock."""

        def run() -> None:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
                self._do(act)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as thread:
            try:
                thread.submit(run).result()
            except OperationalError:
                self._postponed = act

    # -- environment -----------------------------------------------------------------------------

    def _record_wake_up(self, consumer: str, countdown: float, **signal: Any) -> None:
        self.wake_ups.append((timezone.now() + timedelta(seconds=countdown), consumer))

    def _new_id(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)

    def _quantities(self, lines: list[tuple[str, int]]) -> list[ProductQuantity]:
        return [
            ProductQuantity(product_id=self._products[sku], quantity=quantity)
            for sku, quantity in lines
        ]

    def _advance_clock(self, seconds: float) -> None:
        self._seconds += seconds
        self.clock.shift(seconds)


def _open_sales_order(index: int) -> UUID:
    rows = OrderStatus.objects.exclude(status__in=["delivered", "cancelled"]).order_by("pk")
    return _pick(rows, index)


def _open_purchase_order(index: int) -> UUID:
    return _pick(PurchaseOrder.objects.open().order_by("ordered_at", "id"), index)


def _pick(rows: QuerySet[Any], index: int) -> UUID:
    """Return one of the ids; an unknown id if there is none."""
    ids = list(rows.values_list("pk", flat=True))
    return ids[index % len(ids)] if ids else UUID(int=0)
