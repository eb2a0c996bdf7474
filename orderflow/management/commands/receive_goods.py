from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Q

from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from orderflow.catalog.services import product_ids
from orderflow.management.batches import in_batches
from orderflow.management.csv_input import BadValue, counted, shown, whole_number_for
from orderflow.refusals import Refused
from purchase.models import PurchaseOrder, Receipt, ReceiptLine
from purchase.receiving import Status
from purchase.services import Arrival, receive_goods

BATCH = 200  # purchase orders a transaction
BY = "receive_goods"


class Command(BaseCommand):
    help = """Plays the supplier: the goods of purchase orders arrive. Everything that is still to come of those that are named,
    all or none of them; or of all that are open now, batch by batch; or, with --lines, a part of one."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("purchase_orders", nargs="*", metavar="REFERENCE_OR_ID", help="the purchase orders to receive")
        parser.add_argument("--all-open", action="store_true", help="receive every purchase order that is open now")
        parser.add_argument(
            "--lines", nargs="+", action="extend", metavar="SKU=QUANTITY", help="receive only this of the one purchase order"
        )
        parser.add_argument("--receipt-id", type=UUID, help="an id by which this receipt of one purchase order counts once")

    def handle(self, *args: Any, **options: Any) -> None:
        names = list(dict.fromkeys(options["purchase_orders"]))
        if bool(names) == options["all_open"]:
            raise CommandError("Name the purchase orders to receive, or say --all-open.")
        if len(names) != 1 and (options["lines"] or options["receipt_id"]):
            raise CommandError("--lines and --receipt-id are about one purchase order: name exactly one.")
        try:
            batches = self._all_open() if options["all_open"] else [_named(names, options["lines"], options["receipt_id"])]
            received = [self._show(receipts) for receipts in batches]
        except Refused as error:
            raise CommandError(str(error)) from error
        orders, units = sum(orders for orders, _ in received), sum(units for _, units in received)
        self.stdout.write(f"{counted(units, 'unit')} received, of {counted(orders, 'purchase order')}.")

    def _all_open(self) -> Iterator[list[Receipt]]:
        ids = list(PurchaseOrder.objects.open().filter(elsewhere=False).order_by("ordered_at", "id").values_list("id", flat=True))
        for batch in in_batches(ids, BATCH, "Purchase orders received", self.stderr):
            yield _still_open(batch)

    def _show(self, receipts: Sequence[Receipt]) -> tuple[int, int]:
        """Say what arrived. Returns of how many purchase orders, and how many units."""
        arrived: dict[UUID, Counter[str]] = {receipt.id: Counter() for receipt in receipts}
        lines = ReceiptLine.objects.filter(receipt__in=arrived).order_by("id")
        for receipt_id, sku, quantity in lines.values_list("receipt", "line__product__sku", "quantity"):
            arrived[receipt_id][sku] += quantity
        for receipt in receipts:
            goods = ", ".join(f"{quantity:,} × {sku}" for sku, quantity in arrived[receipt.id].items())
            rest = "" if receipt.order.status == Status.RECEIVED else "; more is to come"
            self.stdout.write(f"{receipt.order}: {goods}{rest}")
        return len(receipts), sum(goods.total() for goods in arrived.values())


@transaction.atomic
def _still_open(purchase_order_ids: Sequence[UUID]) -> list[Receipt]:
    """Receive those that are open once they are locked: somebody else may have completed the others."""
    still_open = set(PurchaseOrder.objects.filter(id__in=purchase_order_ids).open().locked().values_list("id", flat=True))
    return receive_goods([Arrival(purchase_order_id=each) for each in purchase_order_ids if each in still_open], by=BY)


def _named(names: Sequence[str], lines: Sequence[str] | None, receipt_id: UUID | None) -> list[Receipt]:
    parts = _parts(lines) if lines else None
    return receive_goods(
        [Arrival(purchase_order_id=each, lines=parts, id=receipt_id or uuid4()) for each in _ids_of(names)], by=BY
    )


def _parts(lines: Sequence[str]) -> list[ProductQuantity]:
    """Raises `UnknownProducts`, and `CommandError` for what is not SKU=QUANTITY."""
    quantities = [_part(line) for line in lines]
    ids = product_ids([sku for sku, _ in quantities])
    return [ProductQuantity(product_id=ids[sku], quantity=quantity) for sku, quantity in quantities]


def _part(line: str) -> tuple[str, int]:
    sku, _, quantity = line.rpartition("=")
    try:
        return sku, _quantity(quantity)
    except BadValue as error:
        raise CommandError(f"{line} is not SKU=QUANTITY, such as chair=2: the quantity {error}.") from error


def _ids_of(names: Sequence[str]) -> list[UUID]:
    """The ids of the purchase orders with these references or ids, each once. Raises `CommandError` for those there are not."""
    ids = {name: _as_uuid(name) for name in names}
    rows = PurchaseOrder.objects.filter(Q(reference__in=names) | Q(id__in=[each for each in ids.values() if each]))
    by_reference = {row.reference: row.id for row in rows}
    found = {name: by_reference.get(name) or ids[name] for name in names}
    unknown = [name for name, each in found.items() if each not in by_reference.values()]
    if unknown:
        raise CommandError(f"There is no purchase order {shown(*unknown)}.")
    return list(dict.fromkeys(each for each in found.values() if each))


def _as_uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


_quantity = whole_number_for(1, LARGEST_QUANTITY)
