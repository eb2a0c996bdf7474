from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orderflow.catalog.services import create_products, product_ids
from orderflow.core.errors import DomainError
from orderflow.core.quantities import MAX_QUANTITY
from orderflow.operations.management.batches import in_batches, slices
from orderflow.operations.management.csv_options import (
    Column,
    add_column_options,
    add_file_options,
)
from orderflow.operations.management.csv_reader import InvalidRows, Row, RowLocation, read_rows
from orderflow.operations.management.csv_values import text, whole_number
from orderflow.operations.management.texts import cause_of, pluralize, quoted
from stock.queries import recorded_adjustments
from stock.services import Adjustment, adjust_stock

ACTOR = "import_products"
BATCH_SIZE = 500  # products per transaction
COLUMNS = [
    Column(name="sku", help="SKU"),
    Column(name="name", help="product name"),
    Column(name="on_hand", help="opening stock", required=False),
]

_sku = text(max_length=100, blank=False)
_name = text(max_length=200, blank=False)
_on_hand = whole_number(0, MAX_QUANTITY)


class _ProductRow(NamedTuple):
    """A valid row. `on_hand`: the opening stock; None if the field is empty."""

    location: RowLocation
    sku: str
    name: str
    on_hand: int | None


class _Counts(NamedTuple):
    """What a batch created: products, opening stocks, and their units."""

    products: int
    openings: int
    units: int


class Command(BaseCommand):
    help = """Creates a product for each row of a CSV file and records its opening stock. Existing
    products stay unchanged and opening stock is recorded once, so a file can be imported again.
    All rows are checked before the first change. The import runs in batches; if it is
    interrupted, run it again."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="CSV file with one row per product")
        add_column_options(parser, COLUMNS)
        add_file_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        invalid = InvalidRows()
        rows = read_rows(options["file"], COLUMNS, options, invalid, self.stderr)
        products = _valid_products(rows, invalid)
        _check_opening_stock(products, invalid)
        invalid.report(self.stderr, skip=options["skip_invalid_rows"])
        products = [product for product in products if product.location not in invalid]
        counts = [
            _import(batch)
            for batch in in_batches(products, BATCH_SIZE, "Products imported", self.stderr)
        ]
        created, openings, units = (
            sum(numbers) for numbers in zip(_Counts(0, 0, 0), *counts, strict=True)
        )
        self.stdout.write(
            f"{pluralize(created, 'product')} created, {len(products) - created:,} already "
            f"existed, {pluralize(len(invalid), 'row')} skipped. Opening stock recorded for "
            f"{pluralize(openings, 'product')}: {pluralize(units, 'unit')}."
        )


def _valid_products(rows: Iterable[Row], invalid: InvalidRows) -> list[_ProductRow]:
    """Return the valid rows; a repeated SKU is invalid."""
    products: dict[str, _ProductRow] = {}
    for row in rows:
        product = _parse(row, invalid)
        if product and product.sku in products:
            line = products[product.sku].location.line
            invalid.add(
                row.location,
                f"The SKU {quoted(product.sku)} is already on line {line}. "
                "Remove one of the rows.",
            )
        elif product:
            products[product.sku] = product
    return list(products.values())


def _parse(row: Row, invalid: InvalidRows) -> _ProductRow | None:
    if row.location in invalid:
        return None
    sku = invalid.parse(row, "sku", _sku)
    name = invalid.parse(row, "name", _name)
    on_hand = invalid.parse_optional(row, "on_hand", _on_hand)
    if sku is None or name is None or row.location in invalid:
        return None
    return _ProductRow(row.location, sku, name, on_hand)


def _check_opening_stock(products: Sequence[_ProductRow], invalid: InvalidRows) -> None:
    for batch in slices(products, BATCH_SIZE):
        recorded = _recorded_opening_stock([product.sku for product in batch])
        for product in batch:
            before = recorded.get(product.sku)
            if before is not None and product.on_hand not in (None, before):
                invalid.add(
                    product.location,
                    f"`on_hand` is {product.on_hand:,}, but the recorded opening stock of "
                    f"{quoted(product.sku)} is {before:,}. Record a stock adjustment instead.",
                )


def _recorded_opening_stock(skus: Collection[str]) -> dict[str, int]:
    """Return the opening stock that earlier imports recorded, by SKU."""
    ids = product_ids(skus, unknown_ok=True)
    sku_by_opening = {_opening_id(product_id): sku for sku, product_id in ids.items()}
    recorded = recorded_adjustments(sku_by_opening)
    return {sku_by_opening[opening]: on_hand for opening, (_, on_hand, _) in recorded.items()}


def _import(products: Sequence[_ProductRow]) -> _Counts:
    try:
        with transaction.atomic():
            names = {product.sku: product.name for product in products}
            created = create_products(names, actor=ACTOR)
            openings = _openings(products)
            recorded = set(adjust_stock(openings, actor=ACTOR))
    except DomainError as error:
        raise CommandError(
            f"{cause_of(error)} Earlier batches are imported. Import the file again; existing "
            "products and opening stocks are not repeated."
        ) from error
    units = sum(opening.quantity for opening in openings if opening.id in recorded)
    return _Counts(products=len(created), openings=len(recorded), units=units)


def _openings(products: Sequence[_ProductRow]) -> list[Adjustment]:
    ids = product_ids([product.sku for product in products])
    return [
        Adjustment(
            id=_opening_id(ids[product.sku]),
            product_id=ids[product.sku],
            quantity=product.on_hand,
            reason="Opening stock",
        )
        for product in products
        if product.on_hand
    ]


def _opening_id(product_id: UUID) -> UUID:
    """Return the id of the adjustment of a product's opening stock: the same in every import."""
    return uuid5(product_id, "opening stock")
