from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orderflow.catalog.services import product_ids
from orderflow.core.errors import DomainError
from orderflow.core.quantities import (
    MAX_QUANTITY,
    LinesRequired,
    ProductQuantity,
    QuantityOutOfRange,
    validate_lines,
)
from orderflow.operations.management.batches import in_batches, slices
from orderflow.operations.management.csv_options import add_column_options, add_file_options
from orderflow.operations.management.csv_reader import InvalidRows
from orderflow.operations.management.order_files import (
    LINE_COLUMNS,
    LINES_REFERENCE,
    ORDER_COLUMNS,
    FileOrder,
    FileOrders,
    OrderDetails,
    read_orders,
)
from orderflow.operations.management.texts import cause_of, pluralize, quoted
from sales.queries import lines_by_reference
from sales.services import SalesOrderDraft, place_orders

ACTOR = "import_orders"
BATCH_SIZE = 200  # sales orders per transaction
QUERY_SIZE = 1000  # references or SKUs per query


class Command(BaseCommand):
    help = """Places the sales orders of a CSV file that has one row per line, or of two files: one
    with the orders and one with their lines. A sales order whose reference exists is not placed
    again, so a file can be imported again. All rows are checked before the first change. The
    import runs in batches; if it is interrupted, run it again. Times without a time zone are
    local times."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", help="CSV file with one row per line; with --lines-file, one row per order"
        )
        parser.add_argument(
            "--lines-file", metavar="FILE", help="CSV file with one row per line of an order"
        )
        add_column_options(parser, [*ORDER_COLUMNS, *LINE_COLUMNS])
        parser.add_argument(
            LINES_REFERENCE.option,
            metavar="HEADER",
            help="header of the column with the reference in the file of lines (default: as in "
            "the file of orders)",
        )
        add_file_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        invalid = InvalidRows()
        orders = read_orders(options, invalid, self.stderr)
        ids = _product_ids(orders)
        _check_lines(orders, ids, invalid)
        existing = _existing(orders, ids, invalid)
        invalid.report(self.stderr, skip=options["skip_invalid_rows"])
        skipped = [reference for reference, order in orders.items() if order.invalid]
        if skipped:
            self.stderr.write(f"Skipping all rows of these sales orders: {quoted(*skipped)}")
        new = {
            key: each for key, each in orders.items() if not each.invalid and key not in existing
        }
        self._place(new, ids)
        self.stdout.write(
            f"{_summary(new)}, {len(existing):,} already existed, {len(skipped):,} skipped."
        )

    def _place(self, new: FileOrders, ids: Mapping[str, UUID]) -> None:
        placed = 0
        for batch in in_batches(list(new.items()), BATCH_SIZE, "Sales orders placed", self.stderr):
            try:
                place_orders([_draft(key, order, ids) for key, order in batch], actor=ACTOR)
            except DomainError as error:  # caused by a concurrent change since the check
                raise CommandError(
                    f"{cause_of(error)} {placed:,} of {len(new):,} sales orders were placed. "
                    "Import the file again; existing sales orders are not placed again."
                ) from error
            placed += len(batch)


def _summary(placed: FileOrders) -> str:
    quantities = [line.quantity for order in placed.values() for line in order.lines]
    lines, units = pluralize(len(quantities), "line"), pluralize(sum(quantities), "unit")
    return f"{pluralize(len(placed), 'sales order')} placed ({lines}, {units})"


def _product_ids(orders: FileOrders) -> dict[str, UUID]:
    """Return the ids of the existing products by SKU."""
    skus = list({line.sku for order in orders.values() for line in order.lines})
    return {
        sku: product_id
        for some in slices(skus, QUERY_SIZE)
        for sku, product_id in product_ids(some, unknown_ok=True).items()
    }


def _check_lines(orders: FileOrders, ids: Mapping[str, UUID], invalid: InvalidRows) -> None:
    for order in orders.values():
        for line in order.lines:
            if line.sku not in ids:
                text = f"No product has the SKU {quoted(line.sku)}. Import the products first."
                invalid.add(line.location, text)
                order.invalid = True
        error = "" if order.invalid else _lines_error(order, ids)
        if error:
            invalid.add(order.location, error)
            order.invalid = True


def _lines_error(order: FileOrder, ids: Mapping[str, UUID]) -> str:
    try:
        validate_lines(_quantities(order, ids))
    except LinesRequired:
        return "The sales order has no lines. Add at least one line."
    except QuantityOutOfRange:
        return (
            f"The total quantity of a product in this sales order exceeds {MAX_QUANTITY:,}. "
            "Reduce a quantity."
        )
    return ""


def _existing(orders: FileOrders, ids: Mapping[str, UUID], invalid: InvalidRows) -> set[str]:
    """Return the references of existing sales orders. Other lines make an order invalid."""
    existing = set()
    references = [reference for reference, order in orders.items() if not order.invalid]
    for some in slices(references, QUERY_SIZE):
        for reference, lines in lines_by_reference(some).items():
            order = orders[reference]
            if lines == set(validate_lines(_quantities(order, ids))):
                existing.add(reference)
                continue
            order.invalid = True
            text = f"Sales order {quoted(reference)} exists with other lines."
            invalid.add(order.location, f"{text} Choose another reference.")
    return existing


def _quantities(order: FileOrder, ids: Mapping[str, UUID]) -> list[ProductQuantity]:
    return [
        ProductQuantity(product_id=ids[line.sku], quantity=line.quantity) for line in order.lines
    ]


def _draft(reference: str, order: FileOrder, ids: Mapping[str, UUID]) -> SalesOrderDraft:
    details = order.details or OrderDetails()
    return SalesOrderDraft(
        lines=_quantities(order, ids),
        reference=reference,
        customer=details.customer or "",
        priority=details.priority or 0,
        delivery_mode=details.delivery_mode or "",
        placed_at=details.placed_at or timezone.now(),
    )
