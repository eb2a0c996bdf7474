"""bin/chaos: many orders on PostgreSQL and Redis of its own, and every second or two something is killed, frozen, emptied or cut.

Customers and suppliers do what well-behaved clients do: they ask again, with the same ids, until they have an answer. They
remember by themselves what they were promised; the database is asked only at the end.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import redis

from orderflow.operations.management.processes import sigterm_as_interrupt
from tests.servers import Server, postgresql, redis_server

KINDS = (
    "worker killed",
    "worker's child killed",
    "worker stopped in good order",
    "worker frozen",
    "beat killed",
    "Redis killed",
    "Redis emptied",
    "Redis frozen",
    "PostgreSQL stopped at once",
    "connections cut",
)
PRODUCTS = 60
ON_THE_SHELF = 20
LONGEST_HEALING = 120.0  # seconds
T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    after: float  # seconds since the one before was over
    movement_type: str
    whom: int  # which of the two workers
    lasts: float  # seconds until what was taken away is given back


def plan(seed: int) -> Iterator[Fault]:
    """The faults that a seed draws, however long the run is."""
    draw = random.Random(seed)
    while True:
        kind = draw.choice(KINDS)
        yield Fault(
            after=draw.uniform(0.5, 1.5),
            movement_type=kind,
            whom=draw.randrange(2),
            lasts=draw.uniform(0.2, 1.5),
        )


@dataclass
class Result:
    seed: int
    orders: int
    delivered: int = 0
    deliveries: int = 0
    lost: int = 0
    doubled: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recovery_p50: float = 0.0
    recovery_p99: float = 0.0
    seconds: float = 0.0
    audit: list[str] = field(default_factory=list)

    def is_good(self) -> bool:
        return self.lost == self.doubled == 0 and not self.audit and self.delivered == self.orders

    def rows(self) -> Iterator[tuple[str, object]]:
        yield "seed", self.seed
        yield "orders", f"{self.orders:,}"
        yield "orders delivered", f"{self.delivered:,}"
        yield "messages handed over", f"{self.deliveries:,}"
        yield "faults", sum(self.faults.values())
        for kind, count in sorted(self.faults.items()):
            yield f"  {kind}", count
        yield "lost", self.lost
        yield "doubled", self.doubled
        yield "recovery p50", f"{self.recovery_p50:.2f} s"
        yield "recovery p99", f"{self.recovery_p99:.2f} s"
        yield "audit", "clean" if not self.audit else "\n".join(self.audit)
        yield "took", f"{self.seconds:.0f} s"


class Programs:
    """Two workers and beat. What ends is started again, as any service manager does."""

    def __init__(self, log: Path) -> None:
        from orderflow.operations.management.processes import beat, worker

        self._log = log
        self._commands = [worker(), worker(), beat()]
        self._running = [self._start(command) for command in self._commands]

    def pid(self, index: int) -> int:
        return self._running[index].pid

    def kill(self, index: int, how: signal.Signals) -> None:
        os.killpg(self.pid(index), how)

    def stop_in_good_order(self, index: int) -> None:
        self._running[index].terminate()
        self._running[index].wait(60)

    def keep_running(self) -> None:
        for index, program in enumerate(self._running):
            if program.poll() is not None:
                self._running[index] = self._start(self._commands[index])

    def close(self) -> None:
        for index, program in enumerate(self._running):
            if program.poll() is None:
                self.kill(index, signal.SIGKILL)
            program.wait()

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


class FaultInjector(threading.Thread):
    """Does what the plan says, one fault at a time, until it is told to stop; then everything is as it was."""

    def __init__(self, seed: int, programs: Programs, database: Server, broker: Server) -> None:
        super().__init__(daemon=True)
        self.done: Counter[str] = Counter()
        self.over: list[datetime] = []  # when what each fault took away had been given back
        self.error: BaseException | None = None
        self._stop_it = threading.Event()
        self._plan = plan(seed)
        self._programs = programs
        self._broker = broker
        self._acts: dict[str, Callable[[Fault], None]] = {
            "worker killed": lambda fault: programs.kill(fault.whom, signal.SIGKILL),
            "worker's child killed": lambda fault: _kill_a_child(programs.pid(fault.whom)),
            "worker stopped in good order": lambda fault: programs.stop_in_good_order(fault.whom),
            "worker frozen": self._freeze_a_worker,
            "beat killed": lambda fault: programs.kill(2, signal.SIGKILL),
            "Redis killed": lambda fault: self._take_away(broker, signal.SIGKILL, fault),
            "Redis emptied": lambda fault: _empty(broker.url),
            "Redis frozen": self._freeze_redis,
            "PostgreSQL stopped at once": lambda fault: self._take_away(
                database, signal.SIGQUIT, fault
            ),
            "connections cut": lambda fault: _cut_connections(database.url),
        }

    def run(self) -> None:
        try:
            for fault in self._plan:
                if self._stop_it.wait(fault.after):
                    break
                self._acts[fault.movement_type](fault)
                self._programs.keep_running()
                self.done[fault.movement_type] += 1
                self.over.append(datetime.now(UTC))
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self._stop_it.set()
        self.join()
        if self.error:
            raise self.error

    def _freeze_a_worker(self, fault: Fault) -> None:
        self._programs.kill(fault.whom, signal.SIGSTOP)
        time.sleep(fault.lasts)
        self._programs.kill(fault.whom, signal.SIGCONT)

    def _freeze_redis(self, fault: Fault) -> None:
        with self._broker.frozen():
            time.sleep(fault.lasts)

    def _take_away(self, server: Server, how: signal.Signals, fault: Fault) -> None:
        with server.away(how):
            time.sleep(fault.lasts)


def _kill_a_child(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if children:
        os.kill(int(children[0]), signal.SIGKILL)


def _empty(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


def _cut_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as cut:
        cut.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
        )


class LoadGenerator:
    """Customers who order, and suppliers who deliver, in parts and late; all of them ask until they are answered."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"market {seed}")
        self.promised: list[UUID] = []
        self._products: list[UUID] = []

    def open(self) -> None:
        from orderflow.catalog.services import create_products, product_ids
        from stock.services import Adjustment, adjust_stock

        skus = {f"CHAOS-{number:02}": f"Product {number}" for number in range(PRODUCTS)}
        create_products(skus)
        self._products = list(product_ids(list(skus)).values())
        found = [
            Adjustment(product_id=each, quantity=ON_THE_SHELF, reason="opening")
            for each in self._products
        ]
        adjust_stock(found, actor="chaos")

    def order(self, count: int) -> None:
        from orderflow.core.quantities import ProductQuantity
        from sales.services import SalesOrderDraft, place_orders

        orders = []
        for _ in range(count):
            products = self._draw.sample(self._products, self._draw.randint(1, 3))
            wanted = [
                ProductQuantity(product_id=each, quantity=self._draw.randint(1, 4))
                for each in products
            ]
            orders.append(
                SalesOrderDraft(id=UUID(int=self._draw.getrandbits(128), version=4), lines=wanted)
            )
        until_answered(lambda: place_orders(orders))
        self.promised += [order.id for order in orders]

    def supply(self, *, everything: bool = False) -> None:
        from orderflow.core.errors import DomainError
        from purchase.models import PurchaseOrder
        from purchase.services import ReceiptDraft, receive_goods

        due = until_answered(
            lambda: list(
                PurchaseOrder.objects.open()
                .order_by("ordered_at", "id")
                .values_list("pk", flat=True)
            )
        )
        chosen = due if everything else [each for each in due if self._draw.random() < 0.5]
        for some in range(0, len(chosen), 50):
            arrivals = [
                ReceiptDraft(
                    id=UUID(int=self._draw.getrandbits(128), version=4), purchase_order_id=each
                )
                for each in chosen[some : some + 50]
            ]
            with suppress(
                DomainError
            ):  # one of them has ended meanwhile; the others come next time
                until_answered(partial(receive_goods, arrivals))


def until_answered(ask: Callable[[], T]) -> T:
    """What fails because the database is away, or goes away right now, is asked again: every request carries its ids."""
    from django.db import InterfaceError, OperationalError, connection

    while True:
        try:
            return ask()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.1)


def run(arguments: argparse.Namespace, folder: Path, cleanup: ExitStack) -> Result:
    database = postgresql(folder / "postgresql").start(cleanup)
    broker = redis_server(folder / "redis").start(cleanup)
    _set_up_django(folder, database, broker)
    market = LoadGenerator(arguments.seed)
    market.open()
    result = Result(seed=arguments.seed, orders=arguments.orders)
    programs = Programs(folder / "log")
    cleanup.callback(programs.close)
    saboteur = FaultInjector(arguments.seed, programs, database, broker)
    began = time.monotonic()
    saboteur.start()
    try:
        _trade(market, arguments, saboteur)
    finally:
        saboteur.stop()
    _heal(market, programs)
    result.seconds = time.monotonic() - began
    _judge(result, market, saboteur)
    return result


def _set_up_django(folder: Path, database: Server, broker: Server) -> None:
    os.environ |= {
        "DATABASE_URL": database.url,
        "CELERY_BROKER_URL": broker.url,
        "ORDERFLOW_DATA_DIR": str(folder),
        "ORDERFLOW_SECRET_KEY": "of no worth: nobody can log in",
        "ORDERFLOW_SWEEP_INTERVAL": "1",
        "ORDERFLOW_RETRY_COUNTDOWN": "0.5",
        "ORDERFLOW_LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "orderflow.settings",
    }
    import django

    django.setup()
    logging.getLogger("orderflow").setLevel(
        logging.ERROR
    )  # that the broker is away is no news to a customer here
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _trade(market: LoadGenerator, arguments: argparse.Namespace, saboteur: FaultInjector) -> None:
    """So many orders a second; who was reserved up catches up."""
    began = time.monotonic()
    shown = 0.0
    while (placed := len(market.promised)) < arguments.orders:
        if saboteur.error:
            raise saboteur.error
        due = min(int((time.monotonic() - began) * arguments.rate) + 1, arguments.orders)
        if due > placed:
            market.order(min(due - placed, 50))
        market.supply()
        if time.monotonic() - shown > 1.0:
            shown = time.monotonic()
            _show(began, market, saboteur)
        time.sleep(0.1)
    _show(began, market, saboteur)


def _heal(market: LoadGenerator, programs: Programs) -> None:
    from orderflow.messaging.queries import is_idle

    deadline = time.monotonic() + LONGEST_HEALING
    while time.monotonic() < deadline:
        programs.keep_running()
        market.supply(everything=True)
        if until_answered(is_idle) and until_answered(_all_have_ended):
            return
        time.sleep(0.2)


def _all_have_ended() -> bool:
    from sales.models import OrderStatus

    return not OrderStatus.objects.exclude(status__in=["delivered", "cancelled"]).exists()


def _judge(result: Result, market: LoadGenerator, saboteur: FaultInjector) -> None:
    from orderflow.messaging.messages import message_types
    from orderflow.messaging.models import StoredMessage
    from orderflow.messaging.subscriptions import consumers_of
    from orderflow.operations.audit import audit
    from sales.models import OrderStatus
    from stock.models import StockMovement

    delivered = set(
        OrderStatus.objects.filter(status="delivered").values_list("order_id", flat=True)
    )
    said = Counter(
        StoredMessage.objects.filter(type="sales.SalesOrderDelivered").values_list(
            "key", flat=True
        )
    )
    shipped = Counter(
        StockMovement.objects.filter(movement_type="shipped").values_list(
            "source_document_id", "product_id"
        )
    )
    twice = {order for order, times in said.items() if times > 1} | {
        order for (order, _), times in shipped.items() if times > 1
    }
    types = Counter(StoredMessage.objects.values_list("type", flat=True))
    result.delivered = len(delivered)
    result.deliveries = sum(
        count * len(consumers_of(message_types()[name])) for name, count in types.items()
    )
    result.lost = len(
        set(market.promised) - (delivered & said.keys() & {order for order, _ in shipped})
    )
    result.doubled = len(twice) + OrderStatus.objects.count() - len(set(market.promised))
    result.faults = dict(saboteur.done)
    result.audit = [
        f"{check.claim}: {offender}" for check in audit() for offender in check.offenders
    ]
    recoveries = sorted(_recoveries(saboteur.over))
    if len(recoveries) > 1:
        percentiles = quantiles(recoveries, n=100, method="inclusive")
        result.recovery_p50, result.recovery_p99 = percentiles[49], percentiles[98]


def _recoveries(over: Sequence[datetime]) -> Iterator[float]:
    """Seconds from the end of each fault to the next order that a worker delivers; orders come all the time."""
    from sales.models import OrderStatusChange

    for moment in over:
        moved = OrderStatusChange.objects.filter(
            at__gte=moment, message_id__isnull=False, to_state__startswith="deliver"
        )
        first = moved.order_by("created_at").values_list("created_at", flat=True).first()
        if first:
            yield (first - moment).total_seconds()


def _show(began: float, market: LoadGenerator, saboteur: FaultInjector) -> None:
    line = f"{time.monotonic() - began:5.0f} s  {len(market.promised):,} orders placed, {sum(saboteur.done.values())} faults"
    print(
        f"\r{line}" if sys.stdout.isatty() else line,
        end="" if sys.stdout.isatty() else "\n",
        flush=True,
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bin/chaos", description="Orders, and everything that can be done to them."
    )
    parser.add_argument(
        "--orders", type=int, default=2000, help="how many are placed (default 2,000)"
    )
    parser.add_argument("--rate", type=float, default=25.0, help="how many a second (default 25)")
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="the same seed draws the same faults (default: another each time)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the table there, under stable names"
    )
    arguments = parser.parse_args(words)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(10**6)
    print(
        f"Seed {arguments.seed}: {arguments.orders:,} orders, {arguments.rate:g} a second.",
        flush=True,
    )
    with ExitStack() as cleanup:
        cleanup.enter_context(sigterm_as_interrupt())  # its servers end with it
        folder = Path(
            cleanup.enter_context(
                tempfile.TemporaryDirectory(prefix="orderflow-chaos-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)  # PostgreSQL's own user looks into it
        result = run(arguments, folder, cleanup)
        if not result.is_good():
            kept = Path(tempfile.mkdtemp(prefix="orderflow-chaos-log-")) / "log"
            shutil.copy(folder / "log", kept)
            print(f"\nWhat workers and beat said: {kept}")
    print("\n" + "\n".join(f"{name:32} {value}" for name, value in result.rows()))
    if arguments.json:
        arguments.json.write_text(json.dumps(_as_json(result), indent=2) + "\n")
    return 0 if result.is_good() else 1


def _as_json(result: Result) -> dict[str, Any]:
    return {**vars(result), "faults": {kind: result.faults.get(kind, 0) for kind in KINDS}}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # or SIGTERM
        sys.exit(130)
