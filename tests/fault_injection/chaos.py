"""bin/chaos: place many orders on private PostgreSQL and Redis servers while faults are injected.

Every second or two a process is killed or frozen, Redis is emptied, or connections are cut.
Clients and suppliers repeat their requests, with the same ids, until they get a response. They
remember the accepted orders themselves; the database is read only at the end.
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
    "worker child killed",
    "worker stopped",
    "worker frozen",
    "beat killed",
    "Redis killed",
    "Redis emptied",
    "Redis frozen",
    "PostgreSQL stopped",
    "connections cut",
)
PRODUCTS = 60
STOCK = 20  # of each product
MAX_RECOVERY_SECONDS = 120.0
T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    delay: float  # seconds after the end of the previous fault
    kind: str
    worker: int  # which of the two workers
    duration: float  # seconds


def plan(seed: int) -> Iterator[Fault]:
    """Yield the faults of a seed, without end."""
    draw = random.Random(seed)
    while True:
        kind = draw.choice(KINDS)
        yield Fault(
            delay=draw.uniform(0.5, 1.5),
            kind=kind,
            worker=draw.randrange(2),
            duration=draw.uniform(0.2, 1.5),
        )


@dataclass
class Result:
    """`lost`: accepted orders without delivery. `duplicates`: effects that happened twice."""

    seed: int
    orders: int
    delivered: int = 0
    messages: int = 0
    lost: int = 0
    duplicates: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recovery_p50: float = 0.0
    recovery_p99: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def is_good(self) -> bool:
        complete = self.delivered == self.orders
        return complete and self.lost == self.duplicates == 0 and not self.violations

    def rows(self) -> Iterator[tuple[str, object]]:
        yield "seed", self.seed
        yield "orders", f"{self.orders:,}"
        yield "orders delivered", f"{self.delivered:,}"
        yield "messages handled", f"{self.messages:,}"
        yield "faults", sum(self.faults.values())
        for kind, count in sorted(self.faults.items()):
            yield f"  {kind}", count
        yield "lost orders", self.lost
        yield "duplicate effects", self.duplicates
        yield "recovery p50", f"{self.recovery_p50:.2f} s"
        yield "recovery p99", f"{self.recovery_p99:.2f} s"
        yield "audit", "PASS" if not self.violations else "\n".join(self.violations)
        yield "duration", f"{self.seconds:.0f} s"


class Programs:
    """Two workers and beat. A program that ends is restarted, as a service manager does."""

    def __init__(self, log: Path) -> None:
        from orderflow.operations.management.processes import beat, worker

        self._log = log
        self._commands = [worker(), worker(), beat()]
        self._running = [self._start(command) for command in self._commands]

    def pid(self, index: int) -> int:
        return self._running[index].pid

    def kill(self, index: int, signal_number: signal.Signals) -> None:
        os.killpg(self.pid(index), signal_number)

    def stop(self, index: int) -> None:
        self._running[index].terminate()
        self._running[index].wait(60)

    def restart_ended(self) -> None:
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
    """Injects the faults of the plan, one at a time, until it is stopped."""

    def __init__(self, seed: int, programs: Programs, database: Server, broker: Server) -> None:
        super().__init__(daemon=True)
        self.injected: Counter[str] = Counter()
        self.ends: list[datetime] = []  # when each fault ended
        self.error: BaseException | None = None
        self._stopping = threading.Event()
        self._plan = plan(seed)
        self._programs = programs
        self._broker = broker
        self._faults: dict[str, Callable[[Fault], None]] = {
            "worker killed": lambda fault: programs.kill(fault.worker, signal.SIGKILL),
            "worker child killed": lambda fault: _kill_child(programs.pid(fault.worker)),
            "worker stopped": lambda fault: programs.stop(fault.worker),
            "worker frozen": self._freeze_worker,
            "beat killed": lambda fault: programs.kill(2, signal.SIGKILL),
            "Redis killed": lambda fault: _stop_server(broker, signal.SIGKILL, fault),
            "Redis emptied": lambda fault: _empty(broker.url),
            "Redis frozen": self._freeze_redis,
            "PostgreSQL stopped": lambda fault: _stop_server(database, signal.SIGQUIT, fault),
            "connections cut": lambda fault: _cut_connections(database.url),
        }

    def run(self) -> None:
        try:
            for fault in self._plan:
                if self._stopping.wait(fault.delay):
                    break
                self._faults[fault.kind](fault)
                self._programs.restart_ended()
                self.injected[fault.kind] += 1
                self.ends.append(datetime.now(UTC))
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """Wait for the end of the current fault. Raises the error of the thread."""
        self._stopping.set()
        self.join()
        if self.error:
            raise self.error

    def _freeze_worker(self, fault: Fault) -> None:
        self._programs.kill(fault.worker, signal.SIGSTOP)
        time.sleep(fault.duration)
        self._programs.kill(fault.worker, signal.SIGCONT)

    def _freeze_redis(self, fault: Fault) -> None:
        with self._broker.frozen():
            time.sleep(fault.duration)


def _stop_server(server: Server, signal_number: signal.Signals, fault: Fault) -> None:
    with server.stopped(signal_number):
        time.sleep(fault.duration)


def _kill_child(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if children:
        os.kill(int(children[0]), signal.SIGKILL)


def _empty(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


def _cut_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
        )


class LoadGenerator:
    """Places orders and receives goods. Each request is repeated until there is a response."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"load {seed}")
        self.accepted: list[UUID] = []
        self._products: list[UUID] = []

    def create_products(self) -> None:
        from orderflow.catalog.services import create_products, product_ids
        from stock.services import Adjustment, adjust_stock

        skus = {f"CHAOS-{number:02}": f"Product {number}" for number in range(PRODUCTS)}
        create_products(skus)
        self._products = list(product_ids(list(skus)).values())
        opening_stock = [
            Adjustment(product_id=product_id, quantity=STOCK, reason="opening stock")
            for product_id in self._products
        ]
        adjust_stock(opening_stock, actor="chaos")

    def place(self, count: int) -> None:
        from orderflow.core.quantities import ProductQuantity
        from sales.services import SalesOrderDraft, place_orders

        drafts = []
        for _ in range(count):
            products = self._draw.sample(self._products, self._draw.randint(1, 3))
            lines = [
                ProductQuantity(product_id=product_id, quantity=self._draw.randint(1, 4))
                for product_id in products
            ]
            drafts.append(SalesOrderDraft(id=self._new_id(), lines=lines))
        repeat_until_response(lambda: place_orders(drafts))
        self.accepted += [draft.id for draft in drafts]

    def receive(self, *, everything: bool = False) -> None:
        """Receive about half of the open purchase orders, or all of them."""
        from orderflow.core.errors import DomainError
        from purchase.models import PurchaseOrder
        from purchase.services import ReceiptDraft, receive_goods

        rows = PurchaseOrder.objects.open().order_by("ordered_at", "id")
        open_ids = repeat_until_response(lambda: list(rows.all().values_list("pk", flat=True)))
        chosen = (
            open_ids if everything else [each for each in open_ids if self._draw.random() < 0.5]
        )
        for start in range(0, len(chosen), 50):
            drafts = [
                ReceiptDraft(id=self._new_id(), purchase_order_id=order_id)
                for order_id in chosen[start : start + 50]
            ]
            # If one was closed in the meantime, the others are received next time.
            with suppress(DomainError):
                repeat_until_response(partial(receive_goods, drafts))

    def _new_id(self) -> UUID:
        return UUID(int=self._draw.getrandbits(128), version=4)


def repeat_until_response(request: Callable[[], T]) -> T:
    """Repeat the request while the database is unavailable. Every request carries its ids."""
    from django.db import InterfaceError, OperationalError, connection

    while True:
        try:
            return request()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.1)


def run(arguments: argparse.Namespace, folder: Path, cleanup: ExitStack) -> Result:
    database = postgresql(folder / "postgresql").start(cleanup)
    broker = redis_server(folder / "redis").start(cleanup)
    _set_up_django(folder, database, broker)
    load = LoadGenerator(arguments.seed)
    load.create_products()
    result = Result(seed=arguments.seed, orders=arguments.orders)
    programs = Programs(folder / "log")
    cleanup.callback(programs.close)
    injector = FaultInjector(arguments.seed, programs, database, broker)
    began = time.monotonic()
    injector.start()
    try:
        _place_orders(load, arguments, injector)
    finally:
        injector.stop()
    _recover(load, programs)
    result.seconds = time.monotonic() - began
    _evaluate(result, load, injector)
    return result


def _set_up_django(folder: Path, database: Server, broker: Server) -> None:
    os.environ |= {
        "DATABASE_URL": database.url,
        "CELERY_BROKER_URL": broker.url,
        "ORDERFLOW_DATA_DIR": str(folder),
        "ORDERFLOW_SECRET_KEY": "not used: no web process runs",
        "ORDERFLOW_SWEEP_INTERVAL": "1",
        "ORDERFLOW_RETRY_COUNTDOWN": "0.5",
        "ORDERFLOW_LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "orderflow.settings",
    }
    import django

    django.setup()
    # Hides the warnings of this process about an unavailable broker.
    logging.getLogger("orderflow").setLevel(logging.ERROR)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _place_orders(
    load: LoadGenerator, arguments: argparse.Namespace, injector: FaultInjector
) -> None:
    """Place orders at the given rate; after an outage, place those that are due at once."""
    began = time.monotonic()
    shown = 0.0
    while (placed := len(load.accepted)) < arguments.orders:
        if injector.error:
            raise injector.error
        due = min(int((time.monotonic() - began) * arguments.rate) + 1, arguments.orders)
        if due > placed:
            load.place(min(due - placed, 50))
        load.receive()
        if time.monotonic() - shown > 1.0:
            shown = time.monotonic()
            _show(began, load, injector)
        time.sleep(0.1)
    _show(began, load, injector)


def _recover(load: LoadGenerator, programs: Programs) -> None:
    """Without further faults, wait until every order is closed."""
    from orderflow.messaging.queries import is_idle

    deadline = time.monotonic() + MAX_RECOVERY_SECONDS
    while time.monotonic() < deadline:
        programs.restart_ended()
        load.receive(everything=True)
        if repeat_until_response(is_idle) and repeat_until_response(_all_closed):
            return
        time.sleep(0.2)


def _all_closed() -> bool:
    from sales.models import OrderStatus

    return not OrderStatus.objects.exclude(status__in=["delivered", "cancelled"]).exists()


def _evaluate(result: Result, load: LoadGenerator, injector: FaultInjector) -> None:
    from orderflow.messaging.messages import message_types
    from orderflow.messaging.models import StoredMessage
    from orderflow.messaging.subscriptions import consumers_of
    from orderflow.operations.audit import audit
    from sales.models import OrderStatus
    from stock.models import StockMovement

    rows = OrderStatus.objects.filter(status="delivered")
    delivered = set(rows.values_list("order_id", flat=True))
    events = StoredMessage.objects.filter(type="sales.SalesOrderDelivered")
    published = Counter(events.values_list("key", flat=True))
    shipments = StockMovement.objects.filter(movement_type="shipped")
    shipped = Counter(shipments.values_list("source_document_id", "product_id"))
    duplicates = {order_id for order_id, count in published.items() if count > 1}
    duplicates |= {order_id for (order_id, _), count in shipped.items() if count > 1}
    complete = delivered & published.keys() & {order_id for order_id, _ in shipped}
    accepted = set(load.accepted)
    types = Counter(StoredMessage.objects.values_list("type", flat=True))
    result.delivered = len(delivered)
    result.messages = sum(
        count * len(consumers_of(message_types()[name])) for name, count in types.items()
    )
    result.lost = len(accepted - complete)
    result.duplicates = len(duplicates) + OrderStatus.objects.count() - len(accepted)
    result.faults = dict(injector.injected)
    result.violations = [
        f"{check.invariant}: {violation}" for check in audit() for violation in check.violations
    ]
    recoveries = sorted(_recoveries(injector.ends))
    if len(recoveries) > 1:
        percentiles = quantiles(recoveries, n=100, method="inclusive")
        result.recovery_p50, result.recovery_p99 = percentiles[49], percentiles[98]


def _recoveries(fault_ends: Sequence[datetime]) -> Iterator[float]:
    """Yield the seconds from the end of each fault to the next order that a worker delivers.

    Orders are placed all the time.
    """
    from sales.models import OrderStatusChange

    deliveries = OrderStatusChange.objects.filter(
        message_id__isnull=False, to_status__startswith="deliver"
    ).order_by("created_at")
    for end in fault_ends:
        rows = deliveries.filter(created_at__gte=end)
        first = rows.values_list("created_at", flat=True).first()
        if first:
            yield (first - end).total_seconds()


def _show(began: float, load: LoadGenerator, injector: FaultInjector) -> None:
    line = (
        f"{time.monotonic() - began:5.0f} s  {len(load.accepted):,} orders placed, "
        f"{sum(injector.injected.values())} faults"
    )
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)
    else:
        print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(10**6)
    print(
        f"Seed {arguments.seed}: {arguments.orders:,} orders, {arguments.rate:g} per second.",
        flush=True,
    )
    with ExitStack() as cleanup:
        cleanup.enter_context(sigterm_as_interrupt())  # stops the servers, too
        temporary = tempfile.TemporaryDirectory(
            prefix="orderflow-chaos-", ignore_cleanup_errors=True
        )
        folder = Path(cleanup.enter_context(temporary))
        folder.chmod(0o755)  # PostgreSQL's own user reads it
        result = run(arguments, folder, cleanup)
        if not result.is_good():
            kept = Path(tempfile.mkdtemp(prefix="orderflow-chaos-log-")) / "log"
            shutil.copy(folder / "log", kept)
            print(f"\nLog of the workers and beat: {kept}")
    print("\n" + "\n".join(f"{name:32} {value}" for name, value in result.rows()))
    if arguments.json:
        arguments.json.write_text(json.dumps(_as_json(result), indent=2) + "\n")
    return 0 if result.is_good() else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/chaos", description="Place orders while faults are injected."
    )
    parser.add_argument(
        "--orders", type=int, default=2000, help="number of orders (default 2,000)"
    )
    parser.add_argument("--rate", type=float, default=25.0, help="orders per second (default 25)")
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="the same seed injects the same faults (default: a random seed)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the result to this file, as JSON"
    )
    return parser


def _as_json(result: Result) -> dict[str, Any]:
    return {**vars(result), "faults": {kind: result.faults.get(kind, 0) for kind in KINDS}}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # also SIGTERM
        sys.exit(130)
