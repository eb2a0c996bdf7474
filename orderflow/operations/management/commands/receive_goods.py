from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.management.base import BaseCommand, CommandError, CommandParser

import purchase.queries
from orderflow.catalog.services import product_ids
from orderflow.core.errors import DomainError
from orderflow.core.quantities import MAX_QUANTITY, ProductQuantity
from orderflow.operations.management.batches import in_batches
from orderflow.operations.management.csv_values import InvalidValue, whole_number
from orderflow.operations.management.texts import pluralize, quoted
from purchase.services import ReceiptDraft, receive_goods, receive_outstanding

ACTOR = "receive_goods"
BATCH_SIZE = 200  # purchase orders per transaction

_quantity = whole_number(1, MAX_QUANTITY)


class Command(BaseCommand):
    help = """Records receipts of purchase orders. It receives everything outstanding of the given
    purchase orders, in one transaction; with --lines, given quantities of one purchase order;
    with --all-open, everything outstanding of all open purchase orders that are not external, in
    batches."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "purchase_orders",
            nargs="*",
            metavar="PURCHASE_ORDER",
            help="reference or id of a purchase order to receive",
        )
        parser.add_argument(
            "--all-open",
            action="store_true",
            help="receive all open purchase orders that are not external",
        )
        parser.add_argument(
            "--lines",
            nargs="+",
            action="extend",
            metavar="SKU=QUANTITY",
            help="receive only these quantities of one purchase order",
        )
        parser.add_argument(
            "--receipt-id",
            type=UUID,
            help="id of the receipt of one purchase order; a receipt id is recorded once",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = list(dict.fromkeys(options["purchase_orders"]))
        _check_options(names, options)
        try:
            received = [self._show(receipt_ids) for receipt_ids in self._receipts(names, options)]
        except DomainError as error:
            raise CommandError(str(error)) from error
        order_count = sum(count for count, _ in received)
        units = sum(units for _, units in received)
        self.stdout.write(
            f"{pluralize(units, 'unit')} received for {pluralize(order_count, 'purchase order')}."
        )

    def _receipts(self, names: Sequence[str], options: dict[str, Any]) -> Iterator[list[UUID]]:
        """Record the receipts; yield the receipt ids of each transaction."""
        if not options["all_open"]:
            yield _receive_named(names, options["lines"], options["receipt_id"])
            return
        ids = purchase.queries.local_open_purchase_order_ids()
        for batch in in_batches(ids, BATCH_SIZE, "Purchase orders received", self.stderr):
            yield [receipt.id for receipt in receive_outstanding(batch, actor=ACTOR)]

    def _show(self, receipt_ids: Sequence[UUID]) -> tuple[int, int]:
        """Print the receipts; return the numbers of purchase orders and units."""
        receipts = purchase.queries.received_goods(receipt_ids)
        for receipt in receipts:
            goods = ", ".join(
                f"{quantity:,} × {sku}" for sku, quantity in receipt.quantities.items()
            )
            outstanding = "" if receipt.fully_received else "; more is outstanding"
            self.stdout.write(f"{receipt.purchase_order_reference}: {goods}{outstanding}")
        return len(receipts), sum(sum(receipt.quantities.values()) for receipt in receipts)


def _check_options(names: Sequence[str], options: dict[str, Any]) -> None:
    if bool(names) == options["all_open"]:
        raise CommandError("Give either purchase orders or --all-open. No changes were made.")
    if len(names) != 1 and (options["lines"] or options["receipt_id"]):
        raise CommandError(
            "--lines and --receipt-id need exactly one purchase order. No changes were made."
        )


def _receive_named(
    names: Sequence[str], lines: Sequence[str] | None, receipt_id: UUID | None
) -> list[UUID]:
    quantities = _quantities(lines) if lines else None
    drafts = [
        ReceiptDraft(purchase_order_id=each, lines=quantities, id=receipt_id or uuid4())
        for each in _purchase_order_ids(names)
    ]
    return [receipt.id for receipt in receive_goods(drafts, actor=ACTOR)]


def _purchase_order_ids(names: Sequence[str]) -> list[UUID]:
    """Return each id once. Raises: `CommandError`, if a purchase order does not exist."""
    ids = purchase.queries.ids_by_reference_or_id(names)
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise CommandError(
            f"No purchase order has the reference or id {quoted(*unknown)}. No changes were made."
        )
    return list(dict.fromkeys(ids[name] for name in names))


def _quantities(lines: Sequence[str]) -> list[ProductQuantity]:
    """Parse SKU=QUANTITY. Raises: `UnknownSku`, `CommandError`."""
    pairs = [_sku_and_quantity(line) for line in lines]
    ids = product_ids([sku for sku, _ in pairs])
    return [ProductQuantity(product_id=ids[sku], quantity=quantity) for sku, quantity in pairs]


def _sku_and_quantity(line: str) -> tuple[str, int]:
    sku, _, quantity = line.rpartition("=")  # a SKU may contain "="
    try:
        return sku, _quantity(quantity)
    except InvalidValue as error:
        raise CommandError(
            f"--lines: {quoted(line)} is not SKU=QUANTITY: the quantity {error} "
            "Write each line as in CHAIR=2. No changes were made."
        ) from error
