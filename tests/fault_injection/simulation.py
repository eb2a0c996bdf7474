"""All of Orderflow in one thread, on one clock, with ids that are made up in order: whatever happens can happen again.

A Hypothesis state machine: it draws what customers, suppliers and the warehouse do, who hands over messages and how many, which
wake-ups are lost or come twice, and the statement or commit at which a process dies, stumbles, or is overtaken by another one.
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
from orderflow.messaging.consuming import drain, has_due_messages
from orderflow.messaging.models import Consumer, QueuedMessage, StoredMessage
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
    try_again,
)
from stock.models import Reservation, ReservationLine, StockLevel, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.fault_injection.invariants import (
    asked_before_stock_had_caught_up,
    assert_invariants,
    every_order_has_ended,
)

BEGINNING = datetime(2026, 3, 2, 8, tzinfo=UTC)
CONSUMERS = ("sales", "stock", "purchase", "feed")
HOT, RARE = ("chair", "desk"), ("lamp", "sofa", "table")
STUMBLED = "it stumbled, for the simulation's sake"
PurchaseOrderAction = tuple[str, Any]  # what is done, by its name here, and with what
WAIT = "30ms"  # how long one who is overtaking waits for a lock: whoever has it does not move meanwhile
# What stories leave behind, in an order in which it can be deleted.
LEFT_BEHIND: list[type[Model]] = [
    FeedEntry, QueuedMessage, Consumer, LinkedPurchaseOrderLine, LinkedPurchaseOrder, OrderStatusChange, OrderStatus, SalesOrderLine, SalesOrder,
    StockMovement, ReservationLine, Reservation, StockLevel, ReceiptLine, Receipt, PurchaseOrderHistoryEntry, PurchaseOrderLine,
    PurchaseOrder, StoredMessage,
]  # fmt: skip


# -- what goes wrong ------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone, in the middle of whatever it did; no handler may catch that."""


class TransientError(IntegrityError):
    """A handler fails, or a constraint objects at the commit."""


@dataclass(frozen=True)
class Fault:
    """At every so manieth of a drain's statements, handled batches, commits, or ringings of alarms after a commit; so often."""

    where: str
    at: int
    movement_type: str  # crash, stumble, or locked: the database asks to repeat
    times: int


@dataclass(frozen=True)
class Overtaken:
    """Before the so manieth write somebody else acts, on a connection of his own: what he does depends on who drains."""

    at: int
    by: dict[str, PurchaseOrderAction]
    where: str = "write"
    times: int = 1


@dataclass(frozen=True)
class Handling:
    """After so many seconds somebody who has something to take drains; with no patience only a batch of it."""

    acts: list[PurchaseOrderAction]  # what others do before
    after: float
    whom: int
    batch: int
    patience: float  # seconds; each statement takes a moment of them
    fault: Fault | Overtaken | None


# -- what is drawn --------------------------------------------------------------------------------------------------------


def _any_of(*often: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`one_of` takes what is given several times for given once."""
    return st.sampled_from(often).flatmap(lambda each: each)


_which = st.integers(0, 5)  # of those that there are, in the order in which they came
_sku = st.sampled_from([*HOT, *HOT, *HOT, *RARE])
_lines = st.lists(st.tuples(_sku, st.integers(1, 4)), min_size=1, max_size=5)
_delivery = st.sampled_from(["automatic", "automatic", "manual"])
_place = st.tuples(st.just("place"), st.tuples(_lines, _delivery, st.integers(0, 1)))
_change = st.tuples(st.just("change"), st.tuples(_which, _lines))
_parts = st.lists(st.integers(0, 3), min_size=1, max_size=3)
_receive = st.tuples(st.just("receive"), st.tuples(_which, st.none() | _parts))
_expect = st.tuples(st.just("expect"), st.tuples(_which, st.sampled_from([-1, 1])))
_adjust = st.tuples(
    st.just("adjust"), st.tuples(st.sampled_from(HOT), st.sampled_from([-2, -1, 2, 4, 6]))
)
_cancel, _deliver, _try_again, _repeat, _close_short, _cancel_purchase_order, _reverse, _drain = (
    st.tuples(st.just(act), _which)
    for act in (
        "cancel",
        "deliver",
        "try_again",
        "repeat",
        "close_short",
        "cancel_purchase_order",
        "reverse",
        "drain",
    )
)
_seldom = [
    _change,
    _cancel,
    _deliver,
    _try_again,
    _close_short,
    _cancel_purchase_order,
    _expect,
    _reverse,
]
_acts = _any_of(*4 * [_place], *6 * [_receive], *2 * [_adjust], *2 * [_repeat], *_seldom)
_kinds = st.sampled_from(["crash", "stumble", "locked"])
_times = st.sampled_from([1, 1, 2, 3])
_rivals = st.fixed_dictionaries(  # somebody who wants to change the very rows that a drain of this consumer has read
    {
        "sales": _any_of(_change, _cancel, _deliver, _drain),
        "stock": _any_of(*3 * [_adjust], _reverse, _drain),
        "purchase": _any_of(_receive, _receive, _close_short, _cancel_purchase_order, _expect),
        "feed": _drain,
    }
)
_faults = st.one_of(
    st.builds(Fault, st.just("statement"), st.integers(1, 30), _kinds, _times),
    st.builds(
        Fault, st.sampled_from(["handled", "commit", "alarms"]), st.integers(1, 3), _kinds, _times
    ),
)
_others = st.builds(Overtaken, st.integers(1, 2), _rivals)
_what_goes_wrong = (
    _faults if connection.vendor == "sqlite" else _any_of(_faults, *3 * [_others])
)  # SQLite lets nobody in
_work = st.lists(
    st.builds(
        Handling,
        acts=st.lists(_acts, max_size=1),
        after=st.sampled_from([0, 0, 0, 3]),
        whom=_which,
        batch=st.sampled_from([1, 2, 50, 50]),
        patience=st.sampled_from([0, 1000, 1000]),
        fault=_any_of(st.none(), _what_goes_wrong),
    ),
    min_size=1,
    max_size=6,
)


class Simulation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.clock = self._stack.enter_context(time_machine.travel(BEGINNING, tick=False))
        self._seconds = 0.0
        self._ids = random.Random(1)
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(uuid, "uuid4", self._new_id)
        patch.setattr(consuming, "monotonic", lambda: self._seconds)
        patch.setattr(consuming, "sleep", self._pass)
        patch.setattr(consuming, "random", random.Random(1))
        messages_available.connect(self._hear)
        self._stack.callback(messages_available.disconnect, self._hear)
        self.wake_ups: list[
            tuple[datetime, str]
        ] = []  # Celery's part: who is to be woken, and when
        self._done: list[
            Callable[[], object]
        ] = []  # what was asked for, so that it can be asked for again
        self._points = Counter[str]()
        self._fault: Fault | Overtaken | None = None
        self._fired = 0
        connection.close()  # takes along what a story that ended badly had still to do after its commit
        for model in LEFT_BEHIND:
            model._default_manager.all()._raw_delete(connection.alias)
        self._products = {
            sku: create_product(sku, sku.title(), product_id=self._new_id()).id
            for sku in (*HOT, *RARE)
        }

    @initialize(
        buy=st.sampled_from(["ordered", "shortage"]),
        over=st.sampled_from([0, 50]),
        cancel=st.sampled_from(["cancelled", "unneeded", "never"]),
        add_stock=st.integers(0, 3),
        orders=st.lists(_place, min_size=4, max_size=8),
        work=_work,
    )
    def a_shop_opens(
        self,
        buy: str,
        over: int,
        cancel: str,
        add_stock: int,
        orders: list[PurchaseOrderAction],
        work: list[Handling],
    ) -> None:
        chosen = override_settings(
            ORDERFLOW_PURCHASE_QUANTITY=buy,
            ORDERFLOW_OVER_RECEIPT_TOLERANCE=over,
            ORDERFLOW_WITHDRAW_PURCHASE_ORDERS=cancel,
        )
        self._stack.enter_context(chosen)
        for sku in HOT if add_stock else ():
            self._adjust(sku, add_stock)
        for order in orders:
            self._do(order)
        self._hand_over(work)

    @rule(act=_acts, work=_work)
    def somebody(self, act: PurchaseOrderAction, work: list[Handling]) -> None:
        self._do(act)
        self._hand_over(work)

    # -- the clock ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.wake_ups)
    @rule(
        which=_which,
        fate=st.sampled_from(["ring", "ring", "ring twice", "lose"]),
        later=st.sampled_from([0, 3, 60, 3600]),
        work=_work,
    )
    def a_wake_up(self, which: int, fate: str, later: int, work: list[Handling]) -> None:
        """It comes when it is due or later; or it is lost, or comes once more."""
        at, consumer = self.wake_ups[which % len(self.wake_ups)]
        if fate != "ring twice":
            self.wake_ups.remove((at, consumer))
        self._pass(later)
        if fate != "lose" and at <= timezone.now():
            drain(consumer)
        self._hand_over(work)

    @rule(later=st.sampled_from([0.5, 60, 3600]), broker_is_emptied=st.booleans(), work=_work)
    def beat(self, later: float, broker_is_emptied: bool, work: list[Handling]) -> None:
        self._pass(later)
        if broker_is_emptied:
            self.wake_ups.clear()
        sweep()
        purchase.services.mark_overdue()
        sales.services.mark_overdue()
        self._hand_over(work)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def assert_invariants(self) -> None:
        assert_invariants(forgiving=(STUMBLED, "It ended the process each time it was tried."))

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self._heal()
        finally:
            self._stack.close()

    def _heal(self) -> None:
        """Nothing goes wrong for a while and everybody does his part: then every order reaches its end."""
        for _ in range(40):
            self._pass(600.0)
            sweep()
            while self.wake_ups:
                at, consumer = self.wake_ups.pop(0)
                if at <= timezone.now():
                    drain(consumer)
            died = QueuedMessage.objects.dead().values_list("pk", flat=True)
            dead_letters.replay(list(died), actor="Ada", reason="the fault is mended")
            deliverable = OrderStatus.objects.filter(state="deliverable")
            deliver_orders(list(deliverable.values_list("pk", flat=True)), actor="Ada")
            in_vain = OrderStatus.objects.filter(needs_attention=True)
            try_again(list(in_vain.values_list("pk", flat=True)), actor="Ada")
            receive_goods(
                [ReceiptDraft(purchase_order_id=each.pk) for each in PurchaseOrder.objects.open()]
            )
            if not QueuedMessage.objects.exists():
                break
        self.assert_invariants()
        every_order_has_ended()

    # -- acts ---------------------------------------------------------------------------------------------------------

    def _do(self, act: PurchaseOrderAction) -> None:
        what, how = act
        with suppress(DomainError):  # then it did not happen
            getattr(self, f"_{what}")(*(how if isinstance(how, tuple) else (how,)))

    def _ask(self, request: Callable[[], object]) -> None:
        request()
        self._done.append(request)

    def _place(self, lines: list[tuple[str, int]], delivery_mode: str, priority: int) -> None:
        order = SalesOrderDraft(
            id=uuid.uuid4(),
            lines=self._quantities(lines),
            delivery_mode=delivery_mode,
            priority=priority,
            placed_at=timezone.now(),
        )
        self._ask(lambda: place_orders([order]))

    def _change(self, which: int, lines: list[tuple[str, int]]) -> None:
        change_order(_order_in_progress(which), self._quantities(lines), actor="Ada")

    def _cancel(self, which: int) -> None:
        order = _order_in_progress(which)
        self._ask(lambda: cancel_orders([order], actor="Ada"))

    def _deliver(self, which: int) -> None:
        order = _any(OrderStatus.objects.filter(state="deliverable").order_by("pk"), which)
        self._ask(lambda: deliver_orders([order], actor="Ada"))

    def _try_again(self, which: int) -> None:
        try_again([_order_in_progress(which)], actor="Ada")

    def _repeat(self, which: int) -> None:
        """The same request once more: it has the same answer as before, and no effect."""
        if self._done:
            before = StoredMessage.objects.count(), StockMovement.objects.count()
            self._done[-1 - which % len(self._done)]()
            assert (StoredMessage.objects.count(), StockMovement.objects.count()) == before, (
                "it had its effect again"
            )

    def _receive(self, which: int, parts: list[int] | None) -> None:
        order = _open_purchase_order(which)
        arrived = None
        if parts is not None:
            rows = PurchaseOrderLine.objects.filter(
                order=order, received__lt=F("quantity")
            ).order_by("product__sku", "id")
            came = zip(rows, parts, strict=False)
            arrived = [
                ProductQuantity(product_id=row.product_id, quantity=each)
                for row, each in came
                if each
            ]
        arrival = ReceiptDraft(id=uuid.uuid4(), purchase_order_id=order, lines=arrived)
        self._ask(lambda: receive_goods([arrival]))

    def _close_short(self, which: int) -> None:
        close_short([_open_purchase_order(which)], actor="Ada")

    def _cancel_purchase_order(self, which: int) -> None:
        cancel_purchase_orders([_open_purchase_order(which)], actor="Ada")

    def _expect(self, which: int, days: int) -> None:
        order = _open_purchase_order(which)
        reschedule(order, timezone.now() + timedelta(days=days), actor="Ada")

    def _adjust(self, sku: str, quantity: int) -> None:
        adjustment = Adjustment(
            id=uuid.uuid4(), product_id=self._products[sku], quantity=quantity, reason=""
        )
        self._ask(lambda: adjust_stock([adjustment], actor="Ada"))

    def _reverse(self, which: int) -> None:
        rows = ReceiptLine.objects.select_related("line").order_by("id")
        if row := rows[which : which + 1].first():
            reversal = Reversal(
                id=uuid.uuid4(),
                receipt_id=row.receipt_id,
                product_id=row.line.product_id,
                quantity=1,
                reason="",
            )
            self._ask(lambda: reverse_receipt(reversal, actor="Ada"))

    def _drain(self, batch: int) -> None:
        drain(self._draining, batch=batch or None, seconds=0)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _hand_over(self, work: list[Handling]) -> None:
        for each in work:
            for act in each.acts:
                self._do(act)
            self._pass(each.after)
            first = each.whom % len(CONSUMERS)
            draining = next(
                filter(has_due_messages, [*CONSUMERS[first:], *CONSUMERS[:first]]), None
            )
            if draining is None:
                continue
            self._draining = draining
            self._points, self._fault, self._fired = Counter[str](), each.fault, 0
            self._late: tuple[str, Any] | None = None
            with (
                connection.execute_wrapper(self._at_a_statement),
                self._at_commits(),
                suppress(Crash, TransientError, OperationalError),
            ):
                drain(self._draining, batch=each.batch, seconds=each.patience)
            self._fault = None
            if self._late:
                self._do(self._late)
            assert asked_before_stock_had_caught_up() == []

    def _at_a_statement(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self._pass(0.001)
        self._point("statement")
        if (
            sql.startswith(("INSERT", "UPDATE")) and "messaging_" not in sql
        ):  # everything that it rests on has been read
            self._point("write")
        return execute(sql, params, many, context)

    @contextmanager
    def _at_commits(self) -> Iterator[None]:
        """Once a batch is handled, before each commit, and between a commit and the wake-ups that follow it."""

        def at(where: str, original: Callable[..., None]) -> Callable[..., None]:
            def stop_there(*arguments: Any) -> None:
                self._point(where)
                original(*arguments)

            return stop_there

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(consuming, "_delete", at("handled", consuming._delete))
            for where, name in (("commit", "_commit"), ("alarms", "run_and_clear_commit_hooks")):
                patch.setattr(connection, name, at(where, getattr(connection, name)))
            yield

    def _point(self, where: str) -> None:
        self._points[where] += 1
        fault = self._fault
        if (
            fault is None
            or where != fault.where
            or self._fired == fault.times
            or self._points[where] % fault.created_at
        ):
            return
        self._fired += 1
        if isinstance(fault, Overtaken):
            self._let_overtake(fault.actor[self._draining])
        elif fault.movement_type == "crash":
            self._fault = None
            connection.close()
            raise Crash
        elif fault.movement_type == "stumble":
            raise TransientError(STUMBLED)
        else:
            raise OperationalError("database is locked")

    def _let_overtake(self, act: PurchaseOrderAction) -> None:
        """What has to wait for a lock happens right after the drain."""

        def in_its_own_thread() -> None:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [WAIT])
                self._do(act)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as thread:
            try:
                thread.submit(in_its_own_thread).result()
            except OperationalError:
                self._late = act

    # -- the world ----------------------------------------------------------------------------------------------------

    def _hear(self, consumer: str, countdown: float, **signal: Any) -> None:
        self.wake_ups.append((timezone.now() + timedelta(seconds=countdown), consumer))

    def _new_id(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)

    def _quantities(self, lines: list[tuple[str, int]]) -> list[ProductQuantity]:
        return [
            ProductQuantity(product_id=self._products[sku], quantity=quantity)
            for sku, quantity in lines
        ]

    def _pass(self, seconds: float) -> None:
        self._seconds += seconds
        self.clock.shift(seconds)


def _order_in_progress(which: int) -> UUID:
    return _any(
        OrderStatus.objects.exclude(state__in=["delivered", "cancelled"]).order_by("pk"), which
    )


def _open_purchase_order(which: int) -> UUID:
    return _any(PurchaseOrder.objects.open().order_by("ordered_at", "id"), which)


def _any(rows: QuerySet[Any], which: int) -> UUID:
    ids = list(rows.values_list("pk", flat=True))
    return ids[which % len(ids)] if ids else UUID(int=0)
