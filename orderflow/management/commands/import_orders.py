from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from typing import Any, NamedTuple
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity, checked_lines
from orderflow.catalog.services import product_ids
from orderflow.management.batches import in_batches, slices
from orderflow.management.csv_input import (
    BadRows,
    BadValue,
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
from sales.models import DeliveryChoice, SalesOrder
from sales.queries import lines_placed
from sales.services import NewOrder, place_orders

BATCH = 200  # sales orders a transaction
ASKED = 1000  # of them, or of products, in one question to the database
HEADER_COLUMNS = [
    Column(name="reference", help="the column with the order's reference"),
    Column(name="customer", help="the column with the customer", required=False),
    Column(name="placed_at", help="the column with the time it was placed", required=False),
    Column(name="priority", help="the column with the priority, higher is served first", required=False),
    Column(name="delivery", help="the column that says automatic or manual", required=False),
]
LINES_REFERENCE = Column(
    name="reference", option_name="lines_reference", help="the same column in the file of lines; default: what --reference says"
)
LINE_COLUMNS = [
    Column(name="sku", help="the column with the product's SKU"),
    Column(name="quantity", help="the column with the quantity"),
]


class _Line(NamedTuple):
    place: Place
    sku: str
    quantity: int


class _Details(NamedTuple):
    """What a row says about the whole order; None: nothing."""

    customer: str | None = None
    placed_at: datetime | None = None
    priority: int | None = None
    delivery: str | None = None


@dataclass(slots=True)
class _Draft:
    """A sales order as the file has it, beginning at `place`. `bad`: one of its rows is, so none of it is imported."""

    place: Place
    details: _Details | None = None
    lines: list[_Line] = field(default_factory=list)
    bad: bool = False


_Drafts = dict[str, _Draft]  # by reference


class Command(BaseCommand):
    help = """Places the sales orders of a CSV file: a row for each line of an order, or one file with the orders and another
    one with their lines. An order whose reference exists is there already, so the same file can be imported again. Every row is
    checked before anything is written; then the orders are placed in batches, and a run that was cut off is completed by
    another one. Times without a time zone are local ones."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a CSV file with a row for each line of an order; with --lines, for each order")
        parser.add_argument("--lines", metavar="FILE", help="a CSV file with the orders' lines, where they are not in the first")
        add_columns(parser, [*HEADER_COLUMNS, *LINE_COLUMNS])
        parser.add_argument(LINES_REFERENCE.option, metavar="HEADER", help=LINES_REFERENCE.help)
        add_file_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        bad = BadRows()
        drafts = self._read(options, bad)
        ids = _known_products(drafts)
        _check_lines(drafts, ids, bad)
        there = _placed_before(drafts, ids, bad)
        bad.report(self.stderr, skip=options["skip_bad_rows"])
        skipped = [reference for reference, draft in drafts.items() if draft.bad]
        if skipped:
            self.stderr.write(f"Skipping these orders whole: {shown(*skipped)}")
        new = {reference: draft for reference, draft in drafts.items() if not draft.bad and reference not in there}
        self._place(new, ids)
        lines = [line.quantity for draft in new.values() for line in draft.lines]
        self.stdout.write(
            f"{counted(len(new), 'sales order')} placed ({counted(len(lines), 'line')}, {counted(sum(lines), 'unit')}), "
            f"{len(there):,} already there, {len(skipped):,} skipped."
        )

    def _read(self, options: Mapping[str, Any], bad: BadRows) -> _Drafts:
        """The orders of the input; a row that names no order belongs to none of them."""
        if options["lines"]:
            headers = read_rows(options["file"], HEADER_COLUMNS, options, bad, self.stderr)
            drafts = _from_headers(headers, bad)
            options = {**options, "lines_reference": options["lines_reference"] or options["reference"]}
            lines = read_rows(options["lines"], [LINES_REFERENCE, *LINE_COLUMNS], options, bad, self.stderr)
            _add_lines(drafts, lines, bad)
        else:
            rows = read_rows(options["file"], [*HEADER_COLUMNS, *LINE_COLUMNS], options, bad, self.stderr)
            drafts = _from_lines(rows, bad)
        drafts.pop("", None)
        return drafts

    def _place(self, new: _Drafts, ids: Mapping[str, UUID]) -> None:
        placed = 0
        for batch in in_batches(list(new.items()), BATCH, "Sales orders placed", self.stderr):
            try:
                place_orders([_new_order(reference, draft, ids) for reference, draft in batch], by="import_orders")
            except Refused as error:  # somebody else was at it since we looked
                advice = "Import the file again: they are not placed twice."
                raise CommandError(f"{error} {placed:,} of {len(new):,} orders were placed before. {advice}") from error
            placed += len(batch)


# -- reading --------------------------------------------------------------------------------------------------------------


def _from_lines(rows: Iterable[Row], bad: BadRows) -> _Drafts:
    """One file: a row is a line, and says of the order what the others say, or nothing."""
    drafts: _Drafts = {}
    for row in rows:
        draft = drafts.setdefault(row.values["reference"], _Draft(row.place))
        if row.place not in bad:
            bad.tried(row, "reference", _reference)
            _note_details(draft, row, bad)
            _note_line(draft, row, bad)
        _warn_of_nameless(row, bad)
        draft.bad |= row.place in bad
    return drafts


def _from_headers(rows: Iterable[Row], bad: BadRows) -> _Drafts:
    """Two files, the first: a row is an order."""
    drafts: _Drafts = {}
    for row in rows:
        reference = row.values["reference"]
        if reference and reference in drafts:
            bad.add(row.place, f"the order {shown(reference)} stands already on line {drafts[reference].place.line}")
        draft = drafts.setdefault(reference, _Draft(row.place))
        if row.place not in bad:
            bad.tried(row, "reference", _reference)
            _note_details(draft, row, bad)
        draft.bad |= row.place in bad
    return drafts


def _add_lines(drafts: Mapping[str, _Draft], rows: Iterable[Row], bad: BadRows) -> None:
    """Two files, the second: a row is a line of an order of the first."""
    for row in rows:
        reference = row.values["reference"]
        draft = drafts.get(reference) or _Draft(row.place)
        if row.place not in bad:
            bad.tried(row, "reference", _reference)
            _note_line(draft, row, bad)
        if reference and reference not in drafts:
            bad.add(row.place, f"the order {shown(reference)} is not in the file of orders")
        _warn_of_nameless(row, bad)
        draft.bad |= row.place in bad


def _note_details(draft: _Draft, row: Row, bad: BadRows) -> None:
    details = _Details(
        customer=bad.tried_if_given(row, "customer", _customer),
        placed_at=bad.tried_if_given(row, "placed_at", _moment),
        priority=bad.tried_if_given(row, "priority", _priority),
        delivery=bad.tried_if_given(row, "delivery", _delivery),
    )
    draft.details = draft.details or details
    for name, said_first, said_now in zip(_Details._fields, draft.details, details, strict=True):
        if said_now not in (None, said_first):
            bad.add(row.place, f"{name} is {shown(row.values[name])}, which an earlier row of this order does not say")


def _note_line(draft: _Draft, row: Row, bad: BadRows) -> None:
    sku = bad.tried(row, "sku", _sku)
    quantity = bad.tried(row, "quantity", _quantity)
    if sku:
        draft.lines.append(_Line(row.place, intern(sku), quantity or 0))


def _warn_of_nameless(row: Row, bad: BadRows) -> None:
    if not row.values["reference"]:
        bad.add(row.place, "whose line it is cannot be known, so without it that order may lack a line")


def _moment(value: str) -> datetime:
    """In UTC, so that what no database can hold is found here."""
    try:
        moment = parse_datetime(value)
        if moment is None:
            raise ValueError
        return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadValue(f"is {shown(value)}, and should be a time such as 2024-12-31 or 2024-12-31 14:30") from error


def _delivery(value: str) -> str:
    if value.lower() not in DeliveryChoice.values:
        raise BadValue(f"is {shown(value)}, and should be {' or '.join(DeliveryChoice.values)}")
    return value.lower()


_reference = text_for(SalesOrder, "reference")
_customer = text_for(SalesOrder, "customer")
_priority = whole_number_for(-(2**31), 2**31 - 1)
_sku = text_for(Product, "sku")
_quantity = whole_number_for(1, LARGEST_QUANTITY)


# -- checking and placing -------------------------------------------------------------------------------------------------


def _known_products(drafts: _Drafts) -> dict[str, UUID]:
    skus = list({line.sku for draft in drafts.values() for line in draft.lines})
    return {sku: key for some in slices(skus, ASKED) for sku, key in product_ids(some, unknown_ok=True).items()}


def _check_lines(drafts: _Drafts, ids: Mapping[str, UUID], bad: BadRows) -> None:
    for draft in drafts.values():
        for line in draft.lines:
            if line.sku not in ids:
                bad.add(line.place, f"no product has the SKU {shown(line.sku)}: import the products first")
                draft.bad = True
        if not draft.bad:
            _check_order(draft, ids, bad)


def _check_order(draft: _Draft, ids: Mapping[str, UUID], bad: BadRows) -> None:
    try:
        checked_lines(_quantities(draft, ids))
    except Refused as error:
        bad.add(draft.place, f"the order's lines, taken together: {error}")
        draft.bad = True


def _placed_before(drafts: _Drafts, ids: Mapping[str, UUID], bad: BadRows) -> set[str]:
    """The references of the orders that are there already. One that is there with other lines is bad."""
    there = set()
    for references in slices([reference for reference, draft in drafts.items() if not draft.bad], ASKED):
        for reference, lines in lines_placed(references).items():
            draft = drafts[reference]
            if lines == set(checked_lines(_quantities(draft, ids))):
                there.add(reference)
            else:
                draft.bad = True
                bad.add(
                    draft.place, f"the order {shown(reference)} was placed before, with other lines: choose another reference"
                )
    return there


def _quantities(draft: _Draft, ids: Mapping[str, UUID]) -> list[ProductQuantity]:
    return [ProductQuantity(product_id=ids[line.sku], quantity=line.quantity) for line in draft.lines]


def _new_order(reference: str, draft: _Draft, ids: Mapping[str, UUID]) -> NewOrder:
    details = draft.details or _Details()
    return NewOrder(
        lines=_quantities(draft, ids),
        reference=reference,
        customer=details.customer or "",
        priority=details.priority or 0,
        delivery=details.delivery or "",
        placed_at=details.placed_at or timezone.now(),
    )
