from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.catalog.services import create_products, product_ids
from orderflow.management.batches import in_batches, slices
from orderflow.management.csv_input import (
    BadRows,
    Column,
    Place,
    Row,
    add_columns,
    add_file_options,
    counted,
    read_rows,
    shown,
    text_for,
    whole_number_for,
)
from orderflow.refusals import Refused
from stock.queries import adjusted
from stock.services import Adjustment, adjust_stock

BATCH = 500  # products a transaction
COLUMNS = [
    Column(name="sku", help="the column with the SKU"),
    Column(name="name", help="the column with the product's name"),
    Column(name="on_hand", help="the column with the opening stock", required=False),
]

_sku = text_for(Product, "sku")
_name = text_for(Product, "name")
_on_hand = whole_number_for(0, LARGEST_QUANTITY)


class _Listed(NamedTuple):
    """A product as the file has it. `on_hand`: the opening stock; None where the file does not say."""

    place: Place
    sku: str
    name: str
    on_hand: int | None


class _New(NamedTuple):
    """What was new in a batch: products, and their opening stock."""

    products: int
    openings: int
    units: int


class Command(BaseCommand):
    help = """Creates a product for each row of a CSV file, and books its opening stock. A product that exists stays as it is,
    and opening stock is booked once, so the same file can be imported again. Every row is checked before anything is
    written; then it is written in batches, and a run that was cut off is completed by another one."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a CSV file with a row for each product")
        add_columns(parser, COLUMNS)
        add_file_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        bad = BadRows()
        products = _distinct(read_rows(options["file"], COLUMNS, options, bad, self.stderr), bad)
        products = _without_other_opening_stock(products, bad)
        bad.report(self.stderr, skip=options["skip_bad_rows"])
        new = [_import(batch) for batch in in_batches(products, BATCH, "Products imported", self.stderr)]
        created, openings, units = (sum(numbers) for numbers in zip(_New(0, 0, 0), *new, strict=True))
        self.stdout.write(
            f"{counted(created, 'product')} created, {len(products) - created:,} already there, {len(bad):,} skipped. "
            f"Opening stock booked for {counted(openings, 'product')}: {counted(units, 'unit')}."
        )


def _distinct(rows: Iterable[Row], bad: BadRows) -> list[_Listed]:
    """The products of the good rows; one whose SKU was named before is bad."""
    products: dict[str, _Listed] = {}
    for row in rows:
        product = _listed(row, bad)
        if product and product.sku in products:
            bad.add(row.place, f"the SKU {shown(product.sku)} stands already on line {products[product.sku].place.line}")
        elif product:
            products[product.sku] = product
    return list(products.values())


def _listed(row: Row, bad: BadRows) -> _Listed | None:
    if row.place in bad:
        return None
    sku = bad.tried(row, "sku", _sku)
    name = bad.tried(row, "name", _name)
    on_hand = bad.tried_if_given(row, "on_hand", _on_hand)
    if sku is None or name is None or row.place in bad:
        return None
    return _Listed(row.place, sku, name, on_hand)


def _without_other_opening_stock(products: Sequence[_Listed], bad: BadRows) -> list[_Listed]:
    for batch in slices(products, BATCH):
        booked = _booked([product.sku for product in batch])
        for product in batch:
            before = booked.get(product.sku)
            if before is not None and product.on_hand not in (None, before):
                bad.add(
                    product.place,
                    f"on_hand is {product.on_hand:,}, but {before:,} were booked as the opening stock of {shown(product.sku)}: "
                    "correct it with a stock adjustment",
                )
    return [product for product in products if product.place not in bad]


def _booked(skus: Collection[str]) -> dict[str, int]:
    """The opening stock that was booked before, by SKU."""
    sku_of = {_opening_id(product_id): sku for sku, product_id in product_ids(skus, unknown_ok=True).items()}
    return {sku_of[opening]: on_hand for opening, (_, on_hand, _) in adjusted(sku_of).items()}


def _import(products: Sequence[_Listed]) -> _New:
    try:
        with transaction.atomic():
            created = len(create_products({product.sku: product.name for product in products}))
            openings = _openings(products)
            booked = set(adjust_stock(openings, by="import_products"))
    except Refused as error:
        raise CommandError(f"{error} Import the file again: what was imported is not imported twice.") from error
    units = sum(opening.quantity for opening in openings if opening.id in booked)
    return _New(products=created, openings=len(booked), units=units)


def _openings(products: Sequence[_Listed]) -> list[Adjustment]:
    ids = product_ids([product.sku for product in products])
    return [
        Adjustment(
            id=_opening_id(ids[product.sku]), product_id=ids[product.sku], quantity=product.on_hand, reason="Opening stock"
        )
        for product in products
        if product.on_hand
    ]


def _opening_id(product_id: UUID) -> UUID:
    """The id of the adjustment that books a product's opening stock: always the same, so that it counts once."""
    return uuid5(product_id, "opening stock")
