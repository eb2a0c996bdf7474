"""Read sales orders from one CSV file, or from a file of orders and a file of lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from typing import Any, NamedTuple

from django.core.management.base import OutputWrapper
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from orderflow.core.quantities import MAX_QUANTITY
from orderflow.operations.management.csv_options import Column
from orderflow.operations.management.csv_reader import InvalidRows, Row, RowLocation, read_rows
from orderflow.operations.management.csv_values import InvalidValue, text, whole_number
from orderflow.operations.management.texts import quoted
from sales.queries import DELIVERY_MODES

ORDER_COLUMNS = [
    Column(name="reference", help="reference"),
    Column(name="customer", help="customer", required=False),
    Column(name="placed_at", help="placement time", required=False),
    Column(name="priority", help="priority; higher is allocated first", required=False),
    Column(
        name="delivery_mode", help=f"delivery mode: {' or '.join(DELIVERY_MODES)}", required=False
    ),
]
LINE_COLUMNS = [
    Column(name="sku", help="SKU"),
    Column(name="quantity", help="quantity"),
]
LINES_REFERENCE = Column(name="reference", option_name="lines_reference", help="reference")


class OrderLine(NamedTuple):
    location: RowLocation
    sku: str
    quantity: int


class OrderDetails(NamedTuple):
    """The fields of a sales order that its rows repeat; None if a field is empty."""

    customer: str | None = None
    placed_at: datetime | None = None
    priority: int | None = None
    delivery_mode: str | None = None


@dataclass(slots=True)
class FileOrder:
    """A sales order of a file. If one of its rows is invalid, the whole order is."""

    location: RowLocation
    details: OrderDetails | None = None
    lines: list[OrderLine] = field(default_factory=list)
    invalid: bool = False


FileOrders = dict[str, FileOrder]  # by reference


def read_orders(
    options: Mapping[str, Any], invalid: InvalidRows, stderr: OutputWrapper
) -> FileOrders:
    """Return the sales orders. Rows without a reference are invalid and belong to no order."""
    file, lines_file = options["file"], options["lines_file"]
    if lines_file:
        orders = _from_order_rows(
            read_rows(file, ORDER_COLUMNS, options, invalid, stderr), invalid
        )
        header = options[LINES_REFERENCE.dest] or options["reference_column"]
        options = {**options, LINES_REFERENCE.dest: header}
        columns = [LINES_REFERENCE, *LINE_COLUMNS]
        _add_lines(orders, read_rows(lines_file, columns, options, invalid, stderr), invalid)
    else:
        columns = [*ORDER_COLUMNS, *LINE_COLUMNS]
        orders = _from_line_rows(read_rows(file, columns, options, invalid, stderr), invalid)
    orders.pop("", None)
    return orders


# -- rows ----------------------------------------------------------------------------------------


def _from_line_rows(rows: Iterable[Row], invalid: InvalidRows) -> FileOrders:
    """Read one file: each row is a line, and repeats the details of its order or omits them."""
    orders: FileOrders = {}
    for row in rows:
        order = orders.setdefault(row.values["reference"], FileOrder(row.location))
        if row.location not in invalid:
            invalid.parse(row, "reference", _reference)
            _add_details(order, row, invalid)
            _add_line(order, row, invalid)
        _check_assigned(row, invalid)
        order.invalid |= row.location in invalid
    return orders


def _from_order_rows(rows: Iterable[Row], invalid: InvalidRows) -> FileOrders:
    """Read the file of orders: each row is an order."""
    orders: FileOrders = {}
    for row in rows:
        reference = row.values["reference"]
        if reference and reference in orders:
            line = orders[reference].location.line
            invalid.add(
                row.location,
                f"Sales order {quoted(reference)} is already on line {line}. "
                "Remove one of the rows.",
            )
        order = orders.setdefault(reference, FileOrder(row.location))
        if row.location not in invalid:
            invalid.parse(row, "reference", _reference)
            _add_details(order, row, invalid)
        order.invalid |= row.location in invalid
    return orders


def _add_lines(orders: FileOrders, rows: Iterable[Row], invalid: InvalidRows) -> None:
    """Read the file of lines: each row is a line of an order of the file of orders."""
    for row in rows:
        reference = row.values["reference"]
        order = orders.get(reference) or FileOrder(row.location)
        if row.location not in invalid:
            invalid.parse(row, "reference", _reference)
            _add_line(order, row, invalid)
        if reference and reference not in orders:
            invalid.add(
                row.location,
                f"Sales order {quoted(reference)} is not in the file of orders. "
                "Add the order, or remove the line.",
            )
        _check_assigned(row, invalid)
        order.invalid |= row.location in invalid


def _add_details(order: FileOrder, row: Row, invalid: InvalidRows) -> None:
    details = OrderDetails(
        customer=invalid.parse_optional(row, "customer", _customer),
        placed_at=invalid.parse_optional(row, "placed_at", _placed_at),
        priority=invalid.parse_optional(row, "priority", _priority),
        delivery_mode=invalid.parse_optional(row, "delivery_mode", _delivery_mode),
    )
    order.details = order.details or details
    for name, first, value in zip(OrderDetails._fields, order.details, details, strict=True):
        if value not in (None, first):
            invalid.add(
                row.location,
                f"`{name}` is {quoted(row.values[name])}, which differs from the first row of the "
                "sales order. Repeat the first value, or leave the field empty.",
            )


def _add_line(order: FileOrder, row: Row, invalid: InvalidRows) -> None:
    sku = invalid.parse(row, "sku", _sku)
    quantity = invalid.parse(row, "quantity", _quantity)
    if sku:
        order.lines.append(OrderLine(row.location, intern(sku), quantity or 0))


def _check_assigned(row: Row, invalid: InvalidRows) -> None:
    if not row.values["reference"]:
        invalid.add(
            row.location,
            "The line cannot be assigned to a sales order. With --skip-invalid-rows, a sales "
            "order may be placed without this line.",
        )


# -- values --------------------------------------------------------------------------------------


def _placed_at(value: str) -> datetime:
    """Return the time in UTC, which fails if a database could not store it."""
    try:
        parsed = parse_datetime(value)
        if parsed is None:
            raise ValueError
        aware = parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(
            f"is {quoted(value)}. It must be a time such as 2024-12-31 or 2024-12-31 14:30."
        ) from error


def _delivery_mode(value: str) -> str:
    if value.lower() not in DELIVERY_MODES:
        raise InvalidValue(f"is {quoted(value)}. It must be {' or '.join(DELIVERY_MODES)}.")
    return value.lower()


_reference = text(max_length=100, blank=False)
_customer = text(max_length=200, blank=True)
_priority = whole_number(-(2**31), 2**31 - 1)
_sku = text(max_length=100, blank=False)
_quantity = whole_number(1, MAX_QUANTITY)
