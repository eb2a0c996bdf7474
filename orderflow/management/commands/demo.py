import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

import purchase.queries
import sales.queries
import stock.queries
from orderflow.catalog.quantities import ProductQuantity
from orderflow.catalog.services import create_products, product_ids
from orderflow.console.story import Story, story_of
from orderflow.console.waiting import why_it_waits
from orderflow.management.processes import beat, running, worker
from orderflow.messaging.queries import is_quiet
from purchase.contract import PeggedQuantity
from purchase.services import Arrival, NewPurchaseOrder, close_short, create_purchase_orders, receive_goods
from sales.services import NewOrder, cancel_orders, place_orders
from stock.services import Adjustment, adjust_stock

PATIENCE = 60.0  # seconds until something that should happen counts as not happening
PRODUCTS = {"CHAIR": "Oak chair", "DESK": "Standing desk", "LAMP": "Reading lamp", "SHELF": "Wall shelf"}
ON_THE_SHELF = {"CHAIR": 5, "DESK": 1, "LAMP": 1}


class Command(BaseCommand):
    help = "Shows the whole loop in a database of its own, with a real worker and beat: run it as bin/demo."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if sales.queries.process_count():
            raise CommandError("There are sales orders in this database, and the demo wants one of its own: run bin/demo.")
        log = Path(settings.VAR) / "demo.log"
        try:
            with running(worker(), beat(), log=log):
                self._show()
        except KeyboardInterrupt:
            raise CommandError("Stopped; no process is left behind.", returncode=130) from None
        except NothingHappened as error:
            raise CommandError(f"{error} What the worker said stands in {log}.") from None

    def _show(self) -> None:
        create_products(PRODUCTS)
        self._ids = product_ids(PRODUCTS)
        adjust_stock(
            [Adjustment(product_id=self._ids[sku], quantity=on_hand, reason="opening") for sku, on_hand in ON_THE_SHELF.items()],
            by="demo",
        )
        self._enough_on_the_shelf()
        self._not_enough()
        self._two_orders_for_the_last_unit()
        self._goods_that_nobody_waits_for()
        self._a_supplier_who_falls_short()
        self._a_customer_who_cancels()
        self._say("The end: every timer has rung, and the audit reads the whole database.")
        _wait_until(is_quiet, "The timers were not answered.")
        call_command("audit", stdout=self.stdout)

    # -- the scenes -----------------------------------------------------------------------------------------------------

    def _enough_on_the_shelf(self) -> None:
        self._say("1. Enough lies on the shelf: 2 of 5 chairs.")
        self._place("D-1001", "Ada", CHAIR=2)
        self._tell("D-1001", until=_has_ended)

    def _not_enough(self) -> None:
        self._say("2. Not enough: 4 desks are wanted and 1 is there. They are bought, and arrive in two parts.")
        self._place("D-1002", "Grace", DESK=4)
        told = self._tell("D-1002", until=_awaits_goods)
        self._receive("D-1002", DESK=2)
        told = self._tell("D-1002", told, until=lambda story: any("promised 3" in entry.what for entry in story.entries))
        self._receive("D-1002")
        self._tell("D-1002", told, until=_has_ended)

    def _two_orders_for_the_last_unit(self) -> None:
        self._say("3. Two orders for the last lamp: one gets it, for the other one is bought.")
        self._place("D-1003", "Edsger", LAMP=1)
        self._place("D-1004", "Barbara", LAMP=1)
        self._tell("D-1003", until=_has_ended)
        told = self._tell("D-1004", until=_awaits_goods)
        self._receive("D-1004")
        self._tell("D-1004", told, until=_has_ended)

    def _goods_that_nobody_waits_for(self) -> None:
        self._say("4. Goods that no order waits for: 10 shelves, ordered by hand. They lie on the shelf.")
        shelves = PeggedQuantity(product_id=self._ids["SHELF"], quantity=10)
        [order] = create_purchase_orders([NewPurchaseOrder(lines=[shelves], reference="P-2001")])
        receive_goods([Arrival(purchase_order_id=order.id)], by="demo")
        _wait_until(lambda: _on_hand("SHELF") == 10, "The shelves were not booked.")
        for level in stock.queries.levels():
            self.stdout.write(f"  {level.sku:6} {level.on_hand:3} on hand, {level.reserved} reserved")

    def _a_supplier_who_falls_short(self) -> None:
        self._say("5. A supplier falls short: of 3 lamps 1 comes, and the rest never will. Exactly that is bought again.")
        self._place("D-1005", "Alan", LAMP=3)
        told = self._tell("D-1005", until=_awaits_goods)
        first = self._receive("D-1005", LAMP=1)
        close_short([first], by="demo", reason="sold out")
        told = self._tell("D-1005", told, until=lambda story: _said("CreatePurchaseOrder", story) == 2)
        self._receive("D-1005")
        self._tell("D-1005", told, until=_has_ended)

    def _a_customer_who_cancels(self) -> None:
        self._say("6. A customer cancels while the goods are on order. So is the purchase order, since nothing has arrived.")
        self._place("D-1006", "Hedy", LAMP=2)
        told = self._tell("D-1006", until=_awaits_goods)
        self._purchase_order_of("D-1006")
        why = why_it_waits("D-1006")
        assert why
        self.stdout.write(f"    {why.sentence}")
        cancel_orders([why.sales_order_id], by="demo", reason="found it elsewhere")
        self._tell("D-1006", told, until=lambda story: _said("PurchaseOrderCancelled", story) == 1)

    # -- what happens in them ---------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(text))

    def _place(self, reference: str, customer: str, **quantities: int) -> None:
        place_orders([NewOrder(reference=reference, customer=customer, lines=self._lines(**quantities))], by="demo")

    def _receive(self, reference: str, **quantities: int) -> UUID:
        """The supplier delivers a part of what was bought for the order, or all the rest. Returns the purchase order's id."""
        purchase_order_id = self._purchase_order_of(reference)
        arrived = self._lines(**quantities) or None
        receive_goods([Arrival(id=uuid4(), purchase_order_id=purchase_order_id, lines=arrived)], by="demo")
        return purchase_order_id

    def _purchase_order_of(self, reference: str) -> UUID:
        """The purchase order that an order waits for, once Purchase has it."""
        process = sales.queries.process_called(reference)
        assert process
        assert process.purchase_order_id
        purchase_order_id: UUID = process.purchase_order_id
        _wait_until(lambda: bool(purchase.queries.references_of([purchase_order_id])), "Nothing was ordered.")
        return purchase_order_id

    def _lines(self, **quantities: int) -> list[ProductQuantity]:
        return [ProductQuantity(product_id=self._ids[sku], quantity=quantity) for sku, quantity in quantities.items()]

    def _tell(self, reference: str, told: frozenset[str] = frozenset(), *, until: Callable[[Story], bool]) -> frozenset[str]:
        """Print what happens to an order, as it happens, until it has come so far; returns all that was told of it."""
        if not told:
            self.stdout.write(f"  {reference}")
        deadline = time.monotonic() + PATIENCE
        while True:
            story = story_of(reference)
            assert story
            for entry in story.entries:
                if entry.key not in told:
                    self.stdout.write(f"    {timezone.localtime(entry.at):%H:%M:%S.%f}"[:-3] + f"  {entry.who:8}  {entry.what}")
            told |= {entry.key for entry in story.entries}
            if until(story):
                return told
            if time.monotonic() > deadline:
                raise NothingHappened(f"{reference} still waits for {', '.join(story.waits_for)}.")
            time.sleep(0.05)


class NothingHappened(Exception):
    """What the demo waited for did not happen in time."""


def _has_ended(story: Story) -> bool:
    return story.has_ended


def _awaits_goods(story: Story) -> bool:
    return any("awaiting goods received" in entry.what for entry in story.entries)


def _said(message: str, story: Story) -> int:
    return sum(entry.what.startswith(message) for entry in story.entries)


def _on_hand(sku: str) -> int:
    return sum(level.on_hand for level in stock.queries.levels() if level.sku == sku)


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise NothingHappened(otherwise)
        time.sleep(0.05)
