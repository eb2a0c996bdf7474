import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

import purchase.queries
import sales.queries
import stock.queries
from orderflow.catalog.services import create_products, product_ids
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.queries import is_idle
from orderflow.operations.explanation import explain
from orderflow.operations.management.processes import beat, running, worker
from orderflow.operations.timeline import Timeline, timeline_of
from purchase.contract import PeggedQuantity
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    close_short,
    create_purchase_orders,
    receive_goods,
)
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from stock.services import Adjustment, adjust_stock

ACTOR = "demo"
TIMEOUT = 60.0  # seconds to wait for an expected change
POLL_INTERVAL = 0.05  # seconds
PRODUCTS = {
    "CHAIR": "Oak chair",
    "DESK": "Standing desk",
    "LAMP": "Reading lamp",
    "BENCH": "Oak bench",
}
OPENING_STOCK = {"CHAIR": 5, "DESK": 1, "LAMP": 1}


class DemoTimeout(Exception):
    """An expected change did not happen in time."""


class Command(BaseCommand):
    help = """Shows six sales and purchase scenarios with a real worker and beat. It needs an empty
    database; bin/demo creates one."""

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if sales.queries.order_count():
            raise CommandError(
                "The database contains sales orders. The demo needs an empty database: run "
                "bin/demo. No changes were made."
            )
        log = Path(settings.ORDERFLOW_DATA_DIR) / "demo.log"
        try:
            with running(worker(), beat(), log=log):
                self._run_scenarios()
        except KeyboardInterrupt:
            raise CommandError("Stopped; all processes have ended.", returncode=130) from None
        except DemoTimeout as error:
            raise CommandError(f"{error} The log of the worker is {log}.") from None

    def _run_scenarios(self) -> None:
        self._create_products()
        self._reserve_from_stock()
        self._purchase_shortage()
        self._compete_for_last_unit()
        self._receive_without_backorders()
        self._close_short()
        self._cancel()
        self._print_title("The audit checks the database after the last scheduled message.")
        _wait_until(is_idle, "Some messages were not handled.")
        call_command("audit", stdout=self.stdout)

    def _create_products(self) -> None:
        create_products(PRODUCTS, actor=ACTOR)
        self._product_ids = product_ids(PRODUCTS)
        adjustments = [
            Adjustment(
                product_id=self._product_ids[sku], quantity=quantity, reason="Opening stock"
            )
            for sku, quantity in OPENING_STOCK.items()
        ]
        adjust_stock(adjustments, actor=ACTOR)

    # -- scenarios -------------------------------------------------------------------------------

    def _reserve_from_stock(self) -> None:
        self._print_title("1. Enough stock: 2 of 5 available chairs are ordered and delivered.")
        self._place("D-1001", "Ada", CHAIR=2)
        self._follow("D-1001", until=_is_complete)

    def _purchase_shortage(self) -> None:
        self._print_title(
            "2. Shortage: 4 desks are ordered and 1 is available. The goods are purchased and "
            "received in two parts."
        )
        self._place("D-1002", "Grace", DESK=4)
        printed = self._follow("D-1002", until=_awaits_goods)
        self._receive("D-1002", DESK=2)
        printed = self._follow("D-1002", printed, until=_has_entries("reserved 3"))
        self._receive("D-1002")
        self._follow("D-1002", printed, until=_is_complete)

    def _compete_for_last_unit(self) -> None:
        self._print_title(
            "3. Two orders for the last lamp: the first reserves it, a lamp is purchased for the "
            "second."
        )
        self._place("D-1003", "Edsger", LAMP=1)
        self._place("D-1004", "Barbara", LAMP=1)
        self._follow("D-1003", until=_is_complete)
        printed = self._follow("D-1004", until=_awaits_goods)
        self._receive("D-1004")
        self._follow("D-1004", printed, until=_is_complete)

    def _receive_without_backorders(self) -> None:
        self._print_title(
            "4. Receipt without backorders: a user orders 10 benches, and they become available."
        )
        line = PeggedQuantity(product_id=self._product_ids["BENCH"], quantity=10)
        [order] = create_purchase_orders(
            [PurchaseOrderDraft(lines=[line], reference="P-2001")], actor=ACTOR
        )
        receive_goods([ReceiptDraft(purchase_order_id=order.id)], actor=ACTOR)
        _wait_until(lambda: _on_hand("BENCH") == 10, "The receipt of P-2001 was not recorded.")
        for level in stock.queries.stock_levels():
            self.stdout.write(
                f"  {level.sku:6} {level.on_hand:3} on hand, {level.reserved} reserved"
            )

    def _close_short(self) -> None:
        self._print_title(
            "5. Short delivery: 1 of 3 lamps is received, and the purchase order is closed short. "
            "The other 2 are purchased again."
        )
        self._place("D-1005", "Alan", LAMP=3)
        printed = self._follow("D-1005", until=_awaits_goods)
        first = self._receive("D-1005", LAMP=1)
        close_short([first], actor=ACTOR, reason="sold out")
        printed = self._follow(
            "D-1005", printed, until=_has_entries("CreatePurchaseOrder", count=2)
        )
        self._receive("D-1005")
        self._follow("D-1005", printed, until=_is_complete)

    def _cancel(self) -> None:
        self._print_title(
            "6. Cancellation: the sales order is cancelled while its goods are on order. Nothing "
            "was received, so the purchase order is cancelled, too."
        )
        self._place("D-1006", "Hedy", LAMP=2)
        printed = self._follow("D-1006", until=_awaits_goods)
        self._awaited_purchase_order("D-1006")
        explanation = explain("D-1006")
        assert explanation
        self.stdout.write(f"    {explanation.summary}")
        cancel_orders(
            [explanation.sales_order_id], actor=ACTOR, reason="ordered from another shop"
        )
        self._follow("D-1006", printed, until=_has_entries("PurchaseOrderCancelled"))

    # -- steps -----------------------------------------------------------------------------------

    def _print_title(self, text: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(text))

    def _place(self, reference: str, customer: str, **quantities: int) -> None:
        lines = self._lines(**quantities)
        draft = SalesOrderDraft(reference=reference, customer=customer, lines=lines)
        place_orders([draft], actor=ACTOR)

    def _receive(self, reference: str, **quantities: int) -> UUID:
        """Receive goods for a sales order, by default everything outstanding.

        Return the id of the purchase order.
        """
        purchase_order_id = self._awaited_purchase_order(reference)
        lines = self._lines(**quantities) or None
        receive_goods(
            [ReceiptDraft(purchase_order_id=purchase_order_id, lines=lines)], actor=ACTOR
        )
        return purchase_order_id

    def _awaited_purchase_order(self, reference: str) -> UUID:
        """Wait until Purchase has created the purchase order that a sales order awaits."""
        process = sales.queries.find_order_process(reference)
        assert process
        assert process.purchase_order_id
        ids = [process.purchase_order_id]
        _wait_until(
            lambda: bool(purchase.queries.references_by_id(ids)),
            f"No purchase order was created for {reference}.",
        )
        return process.purchase_order_id

    def _lines(self, **quantities: int) -> list[ProductQuantity]:
        return [
            ProductQuantity(product_id=self._product_ids[sku], quantity=quantity)
            for sku, quantity in quantities.items()
        ]

    def _follow(
        self,
        reference: str,
        printed: frozenset[str] = frozenset(),
        *,
        until: Callable[[Timeline], bool],
    ) -> frozenset[str]:
        """Print new timeline entries until the condition holds; return the keys of all entries."""
        if not printed:
            self.stdout.write(f"  {reference}")
        deadline = time.monotonic() + TIMEOUT
        while True:
            timeline = timeline_of(reference)
            assert timeline
            self._print_new(timeline, printed)
            printed |= {entry.key for entry in timeline.entries}
            if until(timeline):
                return printed
            if time.monotonic() > deadline:
                reasons = "; ".join(timeline.reasons)
                raise DemoTimeout(f"{reference} did not continue in {TIMEOUT:g} s: {reasons}.")
            time.sleep(POLL_INTERVAL)

    def _print_new(self, timeline: Timeline, printed: frozenset[str]) -> None:
        for entry in timeline.entries:
            if entry.key not in printed:
                created_at = f"{timezone.localtime(entry.created_at):%H:%M:%S.%f}"[:-3]
                self.stdout.write(f"    {created_at}  {entry.context:8}  {entry.text}")


# -- conditions ----------------------------------------------------------------------------------


def _is_complete(timeline: Timeline) -> bool:
    return timeline.is_complete


def _awaits_goods(timeline: Timeline) -> bool:
    return any("awaiting goods received" in entry.text for entry in timeline.entries)


def _has_entries(text: str, *, count: int = 1) -> Callable[[Timeline], bool]:
    """Return a condition: exactly `count` entries start with the text."""
    return lambda timeline: sum(entry.text.startswith(text) for entry in timeline.entries) == count


def _on_hand(sku: str) -> int:
    return sum(level.on_hand for level in stock.queries.stock_levels() if level.sku == sku)


def _wait_until(condition: Callable[[], bool], error: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise DemoTimeout(error)
        time.sleep(POLL_INTERVAL)
