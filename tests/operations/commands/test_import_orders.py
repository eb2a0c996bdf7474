from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from orderflow.operations.management.commands import import_orders
from sales.models import DeliveryMode, OrderStatus, SalesOrder, SalesOrderLine
from sales.queries import DELIVERY_MODES
from sales.services import SalesOrderDraft, place_orders
from tests.conftest import lines, product
from tests.operations.commands import run, run_error, run_stderr

pytestmark = pytest.mark.django_db

REFERENCE_AND_SKU = ["--reference-column", "orderID", "--sku-column", "productID"]
CUSTOMER_AND_TIME = ["--customer-column", "customerID", "--placed-at-column", "orderDate"]
NORTHWIND = [*REFERENCE_AND_SKU, *CUSTOMER_AND_TIME]
NORTHWIND_WITHOUT_CUSTOMER = [*REFERENCE_AND_SKU, *CUSTOMER_AND_TIME[2:]]
ALL_COLUMNS = "reference,customer,placed_at,priority,delivery_mode,sku,quantity"


@pytest.fixture(autouse=True)
def catalog() -> None:
    product("chair")
    product("desk")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Return one file with a row for each line."""
    file = tmp_path / "orders.csv"
    file.write_text("reference,sku,quantity\nA-1,chair,4\nA-1,desk,1\nA-2,chair,2\n")
    return file


@pytest.fixture
def order_file(tmp_path: Path) -> Path:
    """Return the first of two files, with the columns of Northwind."""
    file = tmp_path / "headers.csv"
    file.write_text(
        "orderID,customerID,orderDate\n"
        "10248,VINET,1996-07-04 00:00:00.000\n"
        "10249,TOMSP,1996-07-05 00:00:00.000\n"
    )
    return file


@pytest.fixture
def lines_file(tmp_path: Path) -> Path:
    """Return the second of two files, with the columns of Northwind."""
    file = tmp_path / "details.csv"
    file.write_text(
        "orderID,productID,unitPrice,quantity\n"
        "10248,chair,14.00,4\n"
        "10249,desk,9.80,1\n"
        "10248,desk,9.80,2\n"
    )
    return file


def placed() -> dict[str, dict[str, int]]:
    """Return the placed quantities by reference and SKU."""
    found: dict[str, dict[str, int]] = {}
    for reference, sku, quantity in SalesOrderLine.objects.values_list(
        "order__reference", "product__sku", "quantity"
    ):
        found.setdefault(reference, {})[sku] = quantity
    return found


def append(file: Path, *rows: str) -> None:
    with file.open("a") as end:
        end.writelines(f"{row}\n" for row in rows)


# -- one file ------------------------------------------------------------------------------------


def test_rows_with_one_reference_become_one_order(orders: Path) -> None:
    output = run("import_orders", orders)

    assert placed() == {"A-1": {"chair": 4, "desk": 1}, "A-2": {"chair": 2}}
    assert output == "2 sales orders placed (3 lines, 7 units), 0 already existed, 0 skipped.\n"


def test_rows_of_an_order_may_be_separated(orders: Path) -> None:
    append(orders, "A-1,chair,1")

    run("import_orders", orders)

    assert placed()["A-1"] == {"chair": 5, "desk": 1}


def test_imported_order_starts_its_process(orders: Path) -> None:
    run("import_orders", orders)

    statuses = {row.status for row in OrderStatus.objects.all()}
    assert statuses == {"awaiting_stock_reservation"}
    assert OrderStatus.objects.get(order__reference="A-1").changes.get().actor == "import_orders"


def test_optional_columns_are_imported(orders: Path) -> None:
    orders.write_text(
        "reference,customer,priority,delivery_mode,placed_at,sku,quantity\n"
        "A-1,Ms. Miller,-3,Manual,2024-12-31T14:30+02:00,chair,4\n"
    )

    run("import_orders", orders)

    order = SalesOrder.objects.get()
    assert (order.customer, order.priority, order.delivery_mode) == ("Ms. Miller", -3, "manual")
    assert order.placed_at == datetime(2024, 12, 31, 12, 30, tzinfo=UTC)


def test_delivery_modes_are_those_of_sales() -> None:
    assert list(DELIVERY_MODES) == DeliveryMode.values


def test_longest_values_can_be_stored(orders: Path) -> None:
    assert SalesOrder.reference.field.max_length == 100
    assert SalesOrder.customer.field.max_length == 200
    orders.write_text(
        f"reference,customer,sku,quantity\n{'r' * 100},{'c' * 200},chair,1000000000\n"
    )

    run("import_orders", orders)

    assert placed() == {"r" * 100: {"chair": 1_000_000_000}}


def test_empty_fields_get_the_defaults_of_a_new_order(orders: Path) -> None:
    orders.write_text(
        "reference,customer,priority,delivery_mode,placed_at,sku,quantity\nA-1,,,,,chair,4\n"
    )
    before = timezone.now()

    run("import_orders", orders)

    order = SalesOrder.objects.get()
    assert (order.customer, order.priority, order.delivery_mode) == ("", 0, "automatic")
    assert before <= order.placed_at <= timezone.now()


def test_time_without_time_zone_is_local(orders: Path) -> None:
    orders.write_text("reference,placed_at,sku,quantity\nA-1,2024-07-01,chair,4\n")

    with timezone.override(ZoneInfo("Europe/Berlin")):
        run("import_orders", orders)

    assert SalesOrder.objects.get().placed_at == datetime(2024, 6, 30, 22, tzinfo=UTC)


def test_later_rows_may_repeat_or_omit_the_customer(orders: Path) -> None:
    orders.write_text(
        "reference,customer,sku,quantity\n"
        "A-1,Ms. Miller,chair,4\nA-1,,desk,1\nA-1,Ms. Miller,chair,1\n"
    )

    run("import_orders", orders)

    assert SalesOrder.objects.get().customer == "Ms. Miller"


def test_rejects_order_with_contradicting_rows(orders: Path) -> None:
    orders.write_text(
        "reference,customer,sku,quantity\nA-1,Ms. Miller,chair,4\nA-1,Mr. Miller,desk,1\n"
    )

    error = run_error("import_orders", orders)

    assert (
        'line 3: `customer` is "Mr. Miller", which differs from the first row of the sales order.'
        in error
    )


def test_repeated_import_places_no_order_twice(orders: Path) -> None:
    run("import_orders", orders)

    output = run("import_orders", orders)

    assert SalesOrder.objects.count() == 2
    assert output == "0 sales orders placed (0 lines, 0 units), 2 already existed, 0 skipped.\n"


def test_extended_file_places_only_new_orders(orders: Path) -> None:
    run("import_orders", orders)
    append(orders, "A-3,desk,1")

    output = run("import_orders", orders)

    assert output == "1 sales order placed (1 line, 1 unit), 2 already existed, 0 skipped.\n"


@pytest.mark.parametrize("other", [{"chair": 3}, {"desk": 2}, {"chair": 2, "desk": 1}])
def test_rejects_existing_order_with_other_lines(orders: Path, other: dict[str, int]) -> None:
    place_orders([SalesOrderDraft(reference="A-2", lines=lines(**other))])

    error = run_error("import_orders", orders)

    assert (
        'line 4: Sales order "A-2" exists with other lines. Choose another reference.\n' in error
    )
    assert placed() == {"A-2": other}


def test_interrupted_import_is_completed_by_a_second(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_orders, "BATCH_SIZE", 1)
    with monkeypatch.context() as crash:
        calls = iter([place_orders])

        def place_once(*args: Any, **options: Any) -> object:
            return next(calls)(*args, **options)

        crash.setattr(import_orders, "place_orders", place_once)
        with pytest.raises(StopIteration):
            run("import_orders", orders)
    assert placed().keys() == {"A-1"}

    output = run("import_orders", orders)

    assert output == "1 sales order placed (1 line, 2 units), 1 already existed, 0 skipped.\n"


def test_rejects_concurrently_used_reference_and_shows_progress(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place_after_other_user(drafts: Sequence[SalesOrderDraft], *, actor: str) -> None:
        if drafts[0].reference == "A-2":
            place_orders([SalesOrderDraft(reference="A-2", lines=lines(desk=9))])
        place_orders(drafts, actor=actor)

    monkeypatch.setattr(import_orders, "BATCH_SIZE", 1)
    monkeypatch.setattr(import_orders, "place_orders", place_after_other_user)

    error = run_error("import_orders", orders)

    assert error == (
        "Another sales order has the reference A-2. Choose a different reference. "
        "1 of 2 sales orders were placed. "
        "Import the file again; existing sales orders are not placed again."
    )


# -- invalid rows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            f"{'x' * 101},,,,,chair,1",
            "`reference` has 101 characters. At most 100 are allowed.\n",
        ),
        ("A-3\0,,,,,chair,1", "`reference` contains a NUL character. Remove it.\n"),
        (
            f"A-3,{'x' * 201},,,,chair,1",
            "`customer` has 201 characters. At most 200 are allowed.\n",
        ),
        (
            "A-3,,yesterday,,,chair,1",
            '`placed_at` is "yesterday". It must be a time such as 2024-12-31 or '
            "2024-12-31 14:30.\n",
        ),
        ("A-3,,2024-02-30,,,chair,1", '`placed_at` is "2024-02-30".'),
        ("A-3,,04.07.1996,,,chair,1", '`placed_at` is "04.07.1996".'),
        ("A-3,,0001-01-01T00:00+14:00,,,chair,1", '`placed_at` is "0001-01-01T00:00+14:00".'),
        ("A-3,,,high,,chair,1", '`priority` is "high". It must be a whole number'),
        ("A-3,,,2147483648,,chair,1", '`priority` is "2147483648".'),
        (
            "A-3,,,,never,chair,1",
            '`delivery_mode` is "never". It must be automatic or manual.\n',
        ),
        ("A-3,,,,,,1", "`sku` is empty. A value is required.\n"),
        ("A-3,,,,,sofa,1", 'No product has the SKU "sofa". Import the products first.\n'),
        ("A-3,,,,,cha\0ir,1", "`sku` contains a NUL character. Remove it.\n"),
        ("A-3,,,,,chair,", '`quantity` is "".'),
        (
            "A-3,,,,,chair,one",
            '`quantity` is "one". It must be a whole number from 1 to 1,000,000,000.\n',
        ),
        ("A-3,,,,,chair,0", '`quantity` is "0".'),
        ("A-3,,,,,chair,-1", '`quantity` is "-1".'),
        ("A-3,,,,,chair,1.5", '`quantity` is "1.5".'),
        ("A-3,,,,,chair,1000000001", '`quantity` is "1000000001".'),
        (
            "A-3,,,,,chair",
            "The row has 6 fields, but the header has 7: `quantity` is missing.\n",
        ),
        (
            "A-3,Miller, Jane,,,,chair,1",
            "The row has 8 fields, but the header has 7. If only its last fields are "
            "superfluous, use --extra-fields ignore.\n",
        ),
        (
            ",,,,,chair,1",
            "`reference` is empty. A value is required. The line cannot be assigned to a sales "
            "order. With --skip-invalid-rows, a sales order may be placed without this line.\n",
        ),
        ('A-3,"Jane" Miller,,,,chair,1', "The row, which ends on line 3, is not valid CSV: "),
    ],
)
def test_rejects_file_with_an_invalid_row(orders: Path, row: str, reason: str) -> None:
    orders.write_text(f"{ALL_COLUMNS}\nA-1,,,,,chair,4\n{row}\n")

    error = run_error("import_orders", orders)

    assert error.startswith("1 invalid row:\n")
    assert f"{orders}, line 3: {reason}" in error
    assert error.endswith(
        "Correct the file, or import the valid rows with --skip-invalid-rows. "
        "No changes were made."
    )
    assert not SalesOrder.objects.exists()


def test_rejects_total_quantity_out_of_range(orders: Path) -> None:
    append(orders, "A-2,chair,999999999")

    error = run_error("import_orders", orders)

    assert (
        "line 4: The total quantity of a product in this sales order exceeds 1,000,000,000."
        in error
    )


def test_all_checks_report_all_invalid_rows(orders: Path) -> None:
    append(orders, "A-3,chair,no", "A-3,sofa,1", ",chair,1", "A-4,sofa,no")

    error = run_error("import_orders", orders)

    assert error.startswith("4 invalid rows:\n")
    assert 'line 5: `quantity` is "no".' in error
    assert 'line 6: No product has the SKU "sofa".' in error
    assert "line 7: `reference` is empty." in error
    assert (
        'line 8: `quantity` is "no". It must be a whole number from 1 to 1,000,000,000. '
        'No product has the SKU "sofa".' in error
    )


def test_order_with_an_invalid_row_is_skipped_completely(orders: Path) -> None:
    append(orders, "A-1,sofa,1")

    output = run("import_orders", orders, "--skip-invalid-rows")

    assert placed() == {"A-2": {"chair": 2}}
    assert output == "1 sales order placed (1 line, 2 units), 0 already existed, 1 skipped.\n"


def test_skipped_rows_and_orders_are_listed(orders: Path) -> None:
    append(orders, "A-1,sofa,1")

    output = run_stderr("import_orders", orders, "--skip-invalid-rows")

    assert "Skipping 1 invalid row:\n" in output
    assert 'line 5: No product has the SKU "sofa".' in output
    assert 'Skipping all rows of these sales orders: "A-1"\n' in output


def test_existing_order_with_other_lines_is_skipped(orders: Path) -> None:
    place_orders([SalesOrderDraft(reference="A-2", lines=lines(desk=9))])

    output = run("import_orders", orders, "--skip-invalid-rows")

    assert output == "1 sales order placed (2 lines, 5 units), 0 already existed, 1 skipped.\n"


def test_file_with_only_invalid_rows_is_skipped(orders: Path) -> None:
    orders.write_text("reference,sku,quantity\nA-1,sofa,4\n")

    output = run("import_orders", orders, "--skip-invalid-rows")

    assert output.endswith("0 already existed, 1 skipped.\n")


def test_rejects_file_without_required_columns(orders: Path) -> None:
    orders.write_text("orderID,productID,quantity\n1,chair,4\n")

    error = run_error("import_orders", orders, "--customer-column", "client")

    assert error == (
        f"{orders} lacks 3 columns:\n"
        '  "reference": set its header with --reference-column\n'
        '  "client": set its header with --customer-column\n'
        '  "sku": set its header with --sku-column\n'
        'Its columns are "orderID", "productID", "quantity". No changes were made.'
    )


# -- two files -----------------------------------------------------------------------------------


def test_two_files_with_mapped_columns_are_imported(order_file: Path, lines_file: Path) -> None:
    output = run("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert placed() == {"10248": {"chair": 4, "desk": 2}, "10249": {"desk": 1}}
    assert SalesOrder.objects.get(reference="10248").customer == "VINET"
    assert SalesOrder.objects.get(reference="10248").placed_at == datetime(1996, 7, 4, tzinfo=UTC)
    assert output == "2 sales orders placed (3 lines, 7 units), 0 already existed, 0 skipped.\n"


def test_lines_file_may_have_another_reference_column(order_file: Path, lines_file: Path) -> None:
    lines_file.write_text(lines_file.read_text().replace("orderID", "order"))

    run(
        "import_orders",
        order_file,
        "--lines-file",
        lines_file,
        *NORTHWIND,
        "--lines-reference-column",
        "order",
    )

    assert len(placed()) == 2


def test_rejects_lines_file_without_reference_column(order_file: Path, lines_file: Path) -> None:
    lines_file.write_text(lines_file.read_text().replace("orderID", "order"))

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert error.startswith(
        f"{lines_file} lacks 1 column:\n"
        '  "orderID": set its header with --lines-reference-column\n'
    )


def test_repeated_import_of_two_files_places_no_order_twice(
    order_file: Path, lines_file: Path
) -> None:
    run("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    output = run("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert output == "0 sales orders placed (0 lines, 0 units), 2 already existed, 0 skipped.\n"


@pytest.fixture
def unquoted_order_file(order_file: Path) -> Path:
    """Return a file of orders with an unquoted comma in an address, as Northwind has it."""
    order_file.write_text(
        "orderID,orderDate,address,city\n"
        "10248,1996-07-04,Rua do Paço, 67,Rio\n"
        "10249,1996-07-05,Luisenstr. 48,Münster\n"
    )
    return order_file


def test_rejects_row_with_extra_fields(unquoted_order_file: Path, lines_file: Path) -> None:
    error = run_error(
        "import_orders",
        unquoted_order_file,
        "--lines-file",
        lines_file,
        *NORTHWIND_WITHOUT_CUSTOMER,
    )

    assert error.startswith("1 invalid row:\n")
    assert (
        f"{unquoted_order_file}, line 2: The row has 5 fields, but the header has 4. "
        "If only its last fields are superfluous, use --extra-fields ignore.\n" in error
    )


def test_extra_fields_can_be_ignored(unquoted_order_file: Path, lines_file: Path) -> None:
    run(
        "import_orders",
        unquoted_order_file,
        "--lines-file",
        lines_file,
        *NORTHWIND_WITHOUT_CUSTOMER,
        "--extra-fields",
        "ignore",
    )

    assert SalesOrder.objects.get(reference="10248").placed_at == datetime(1996, 7, 4, tzinfo=UTC)


def test_lines_of_an_invalid_order_are_skipped(
    unquoted_order_file: Path, lines_file: Path
) -> None:
    output = run(
        "import_orders",
        unquoted_order_file,
        "--lines-file",
        lines_file,
        *NORTHWIND_WITHOUT_CUSTOMER,
        "--skip-invalid-rows",
    )

    assert placed() == {"10249": {"desk": 1}}
    assert output == "1 sales order placed (1 line, 1 unit), 0 already existed, 1 skipped.\n"


def test_rejects_order_without_lines(order_file: Path, lines_file: Path) -> None:
    append(order_file, "10250,HANAR,1996-07-08")

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert f"{order_file}, line 4: The sales order has no lines. Add at least one line.\n" in error


def test_rejects_line_of_an_unknown_order(order_file: Path, lines_file: Path) -> None:
    append(lines_file, "10250,chair,1.00,1")

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert f'{lines_file}, line 5: Sales order "10250" is not in the file of orders.' in error


def test_rejects_line_without_reference(order_file: Path, lines_file: Path) -> None:
    append(lines_file, ",chair,1.00,1")

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert (
        f"{lines_file}, line 5: `reference` is empty. A value is required. "
        "The line cannot be assigned to a sales order." in error
    )


def test_rejects_repeated_order_in_the_file_of_orders(order_file: Path, lines_file: Path) -> None:
    append(order_file, "10248,VINET,1996-07-04 00:00:00.000")

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert error.startswith("1 invalid row:\n")
    assert f'{order_file}, line 4: Sales order "10248" is already on line 2.' in error


def test_rejects_orders_without_reference(order_file: Path, lines_file: Path) -> None:
    append(order_file, ",HANAR,1996-07-08", ",HANAR,1996-07-08")

    error = run_error("import_orders", order_file, "--lines-file", lines_file, *NORTHWIND)

    assert f"{order_file}, line 4: `reference` is empty. A value is required.\n" in error
    assert f"{order_file}, line 5: `reference` is empty. A value is required.\n" in error


def test_order_with_an_invalid_line_in_the_lines_file_is_skipped(
    order_file: Path, lines_file: Path
) -> None:
    append(lines_file, "10248,sofa,1.00,1", "10249,chair,1.00,0")

    output = run(
        "import_orders",
        order_file,
        "--lines-file",
        lines_file,
        *NORTHWIND,
        "--skip-invalid-rows",
    )

    assert not SalesOrder.objects.exists()
    assert output.endswith("0 already existed, 2 skipped.\n")
