from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from orderflow.management.commands import import_orders
from sales.models import OrderStatus, SalesOrder, SalesOrderLine
from sales.services import NewOrder, place_orders
from tests.conftest import lines, product
from tests.management import complaints, refusal, run

pytestmark = pytest.mark.django_db

NORTHWIND = ["--reference", "orderID", "--customer", "customerID", "--placed-at", "orderDate", "--sku", "productID"]


@pytest.fixture(autouse=True)
def catalog() -> None:
    product("chair")
    product("desk")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """One file: a row for each line."""
    file = tmp_path / "orders.csv"
    file.write_text("reference,sku,quantity\nA-1,chair,4\nA-1,desk,1\nA-2,chair,2\n")
    return file


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    """Two files, as Northwind has them: the first."""
    file = tmp_path / "headers.csv"
    file.write_text("orderID,customerID,orderDate\n10248,VINET,1996-07-04 00:00:00.000\n10249,TOMSP,1996-07-05 00:00:00.000\n")
    return file


@pytest.fixture
def details(tmp_path: Path) -> Path:
    """And the second."""
    file = tmp_path / "details.csv"
    file.write_text("orderID,productID,unitPrice,quantity\n10248,chair,14.00,4\n10249,desk,9.80,1\n10248,desk,9.80,2\n")
    return file


def placed() -> dict[str, dict[str, int]]:
    """Quantities by SKU by reference."""
    found: dict[str, dict[str, int]] = {}
    for reference, sku, quantity in SalesOrderLine.objects.values_list("order__reference", "product__sku", "quantity"):
        found.setdefault(reference, {})[sku] = quantity
    return found


def append(file: Path, *rows: str) -> None:
    with file.open("a") as end:
        end.writelines(f"{row}\n" for row in rows)


# -- one file -------------------------------------------------------------------------------------------------------------


def test_rows_with_one_reference_are_the_lines_of_one_order(orders: Path) -> None:
    said = run("import_orders", orders)

    assert placed() == {"A-1": {"chair": 4, "desk": 1}, "A-2": {"chair": 2}}
    assert said == "2 sales orders placed (3 lines, 7 units), 0 already there, 0 skipped.\n"


def test_the_rows_of_an_order_need_not_stand_together(orders: Path) -> None:
    append(orders, "A-1,chair,1")

    run("import_orders", orders)

    assert placed()["A-1"] == {"chair": 5, "desk": 1}


def test_an_imported_order_has_its_process_like_any_other(orders: Path) -> None:
    run("import_orders", orders)

    assert {status.state for status in OrderStatus.objects.all()} == {"awaiting_stock_reservation"}
    assert OrderStatus.objects.get(order__reference="A-1").changes.get().by == "import_orders"


def test_customer_priority_delivery_and_time_are_taken_over(orders: Path) -> None:
    orders.write_text(
        "reference,customer,priority,delivery,placed_at,sku,quantity\nA-1,Ms. Miller,-3,Manual,2024-12-31T14:30+02:00,chair,4\n"
    )

    run("import_orders", orders)

    order = SalesOrder.objects.get()
    assert (order.customer, order.priority, order.delivery) == ("Ms. Miller", -3, "manual")
    assert order.placed_at == datetime(2024, 12, 31, 12, 30, tzinfo=UTC)


def test_what_a_row_leaves_empty_is_made_up_as_for_any_new_order(orders: Path) -> None:
    orders.write_text("reference,customer,priority,delivery,placed_at,sku,quantity\nA-1,,,,,chair,4\n")
    before = timezone.now()

    run("import_orders", orders)

    order = SalesOrder.objects.get()
    assert (order.customer, order.priority, order.delivery) == ("", 0, "automatic")
    assert before <= order.placed_at <= timezone.now()


def test_a_time_without_a_time_zone_is_local(orders: Path) -> None:
    orders.write_text("reference,placed_at,sku,quantity\nA-1,2024-07-01,chair,4\n")

    with timezone.override(ZoneInfo("Europe/Berlin")):
        run("import_orders", orders)

    assert SalesOrder.objects.get().placed_at == datetime(2024, 6, 30, 22, tzinfo=UTC)


def test_later_rows_of_an_order_repeat_what_the_first_says_or_say_nothing(orders: Path) -> None:
    orders.write_text("reference,customer,sku,quantity\nA-1,Ms. Miller,chair,4\nA-1,,desk,1\nA-1,Ms. Miller,chair,1\n")

    run("import_orders", orders)

    assert SalesOrder.objects.get().customer == "Ms. Miller"


def test_it_rejects_an_order_whose_rows_contradict_each_other(orders: Path) -> None:
    orders.write_text("reference,customer,sku,quantity\nA-1,Ms. Miller,chair,4\nA-1,Mr. Miller,desk,1\n")

    error = refusal("import_orders", orders)

    assert "line 3: customer is 'Mr. Miller', which an earlier row of this order does not say" in error


def test_the_same_file_again_places_nothing_twice(orders: Path) -> None:
    run("import_orders", orders)

    said = run("import_orders", orders)

    assert SalesOrder.objects.count() == 2
    assert said == "0 sales orders placed (0 lines, 0 units), 2 already there, 0 skipped.\n"


def test_what_is_new_in_a_longer_file_is_placed(orders: Path) -> None:
    run("import_orders", orders)
    append(orders, "A-3,desk,1")

    said = run("import_orders", orders)

    assert said == "1 sales order placed (1 line, 1 unit), 2 already there, 0 skipped.\n"


@pytest.mark.parametrize("other", [{"chair": 3}, {"desk": 2}, {"chair": 2, "desk": 1}])
def test_it_rejects_an_order_that_is_there_with_other_lines(orders: Path, other: dict[str, int]) -> None:
    place_orders([NewOrder(reference="A-2", lines=lines(**other))])

    error = refusal("import_orders", orders)

    assert "line 4: the order 'A-2' was placed before, with other lines: choose another reference" in error
    assert placed() == {"A-2": other}


def test_a_run_that_was_cut_off_is_completed_by_another(orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_orders, "BATCH", 1)
    with monkeypatch.context() as crash:
        placing = iter([place_orders])
        crash.setattr(import_orders, "place_orders", lambda *args, **options: next(placing)(*args, **options))
        with pytest.raises(StopIteration):
            run("import_orders", orders)
    assert placed().keys() == {"A-1"}

    said = run("import_orders", orders)

    assert said == "1 sales order placed (1 line, 2 units), 1 already there, 0 skipped.\n"


def test_it_says_how_far_it_came_when_somebody_else_takes_a_reference_meanwhile(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place_after_somebody_else(new: Sequence[NewOrder], *, by: str) -> None:
        if new[0].reference == "A-2":
            place_orders([NewOrder(reference="A-2", lines=lines(desk=9))])
        place_orders(new, by=by)

    monkeypatch.setattr(import_orders, "BATCH", 1)
    monkeypatch.setattr(import_orders, "place_orders", place_after_somebody_else)

    error = refusal("import_orders", orders)

    assert "another sales order with the reference A-2" in error
    assert "1 of 2 orders were placed before. Import the file again: they are not placed twice." in error


# -- bad rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{'x' * 101},,,,,chair,1", "reference has 101 characters, and may have 100"),
        ("A-3\0,,,,,chair,1", "reference contains a NUL character"),
        (f"A-3,{'x' * 201},,,,chair,1", "customer has 201 characters, and may have 200"),
        ("A-3,,yesterday,,,chair,1", "placed_at is 'yesterday', and should be a time such as 2024-12-31 or 2024-12-31 14:30"),
        ("A-3,,2024-02-30,,,chair,1", "placed_at is '2024-02-30'"),
        ("A-3,,04.07.1996,,,chair,1", "placed_at is '04.07.1996'"),
        ("A-3,,0001-01-01T00:00+14:00,,,chair,1", "placed_at is '0001-01-01T00:00+14:00'"),
        ("A-3,,,high,,chair,1", "priority is 'high', and should be a whole number"),
        ("A-3,,,2147483648,,chair,1", "priority is '2147483648'"),
        ("A-3,,,,never,chair,1", "delivery is 'never', and should be automatic or manual"),
        ("A-3,,,,,,1", "sku is empty"),
        ("A-3,,,,,sofa,1", "no product has the SKU 'sofa': import the products first"),
        ("A-3,,,,,cha\0ir,1", "sku contains a NUL character"),
        ("A-3,,,,,chair,", "quantity is ''"),
        ("A-3,,,,,chair,one", "quantity is 'one', and should be a whole number from 1 to 1,000,000,000"),
        ("A-3,,,,,chair,0", "quantity is '0'"),
        ("A-3,,,,,chair,-1", "quantity is '-1'"),
        ("A-3,,,,,chair,1.5", "quantity is '1.5'"),
        ("A-3,,,,,chair,1000000001", "quantity is '1000000001'"),
        ("A-3,,,,,chair", "6 fields under 7 headers: quantity is not among them"),
        ("A-3,Miller, Jane,,,,chair,1", "8 fields under 7 headers (if those that are read come first, --extra-fields ignore"),
        (",,,,,chair,1", "reference is empty; whose line it is cannot be known, so without it that order may lack a line"),
        ('A-3,"Jane" Miller,,,,chair,1', "the quotes are not in order, up to line 3"),
    ],
)
def test_it_rejects_a_bad_row_with_the_reason_and_places_nothing(orders: Path, row: str, reason: str) -> None:
    orders.write_text(f"reference,customer,placed_at,priority,delivery,sku,quantity\nA-1,,,,,chair,4\n{row}\n")

    error = refusal("import_orders", orders)

    assert error.startswith("1 bad row, so nothing was imported:\n")
    assert f"{orders}, line 3: {reason}" in error
    assert not SalesOrder.objects.exists()


def test_it_rejects_an_order_of_more_than_a_quantity_may_be_in_several_rows(orders: Path) -> None:
    append(orders, "A-2,chair,999999999")

    error = refusal("import_orders", orders)

    assert "line 4: the order's lines, taken together: A quantity is a whole number from 1 to 1,000,000,000" in error


def test_every_bad_row_is_reported_whichever_check_finds_it(orders: Path) -> None:
    append(orders, "A-3,chair,no", "A-3,sofa,1", ",chair,1", "A-4,sofa,no")

    error = refusal("import_orders", orders)

    assert error.startswith("4 bad rows")
    assert "line 5: quantity is 'no'" in error
    assert "line 6: no product has the SKU 'sofa'" in error
    assert "line 7: reference is empty" in error
    assert (
        "line 8: quantity is 'no', and should be a whole number from 1 to 1,000,000,000; no product has the SKU 'sofa'" in error
    )


def test_an_order_with_a_bad_row_is_skipped_whole(orders: Path) -> None:
    append(orders, "A-1,sofa,1")

    said = run("import_orders", orders, "--skip-bad-rows")

    assert placed() == {"A-2": {"chair": 2}}
    assert said == "1 sales order placed (1 line, 2 units), 0 already there, 1 skipped.\n"


def test_what_is_skipped_is_said(orders: Path) -> None:
    append(orders, "A-1,sofa,1")

    said = complaints("import_orders", orders, "--skip-bad-rows")

    assert "Skipping 1 bad row:\n" in said
    assert "line 5: no product has the SKU 'sofa'" in said
    assert "Skipping these orders whole: 'A-1'\n" in said


def test_an_order_that_was_placed_with_other_lines_is_skipped_like_any_other_bad_one(orders: Path) -> None:
    place_orders([NewOrder(reference="A-2", lines=lines(desk=9))])

    said = run("import_orders", orders, "--skip-bad-rows")

    assert said == "1 sales order placed (2 lines, 5 units), 0 already there, 1 skipped.\n"


def test_a_file_of_nothing_but_bad_rows_can_be_skipped(orders: Path) -> None:
    orders.write_text("reference,sku,quantity\nA-1,sofa,4\n")

    assert run("import_orders", orders, "--skip-bad-rows").endswith("0 already there, 1 skipped.\n")


def test_it_rejects_a_file_without_the_columns_to_read(orders: Path) -> None:
    orders.write_text("orderID,productID,quantity\n1,chair,4\n")

    error = refusal("import_orders", orders, "--customer", "who")

    assert "no column 'reference': name the right one with --reference" in error
    assert "no column 'who': name the right one with --customer" in error
    assert "no column 'sku': name the right one with --sku" in error
    assert "Its columns are: 'orderID', 'productID', 'quantity'." in error


# -- two files ------------------------------------------------------------------------------------------------------------


def test_orders_and_lines_come_from_two_files_under_other_peoples_column_names(headers: Path, details: Path) -> None:
    said = run("import_orders", headers, "--lines", details, *NORTHWIND)

    assert placed() == {"10248": {"chair": 4, "desk": 2}, "10249": {"desk": 1}}
    assert SalesOrder.objects.get(reference="10248").customer == "VINET"
    assert SalesOrder.objects.get(reference="10248").placed_at == datetime(1996, 7, 4, tzinfo=UTC)
    assert said == "2 sales orders placed (3 lines, 7 units), 0 already there, 0 skipped.\n"


def test_the_lines_may_have_another_name_for_the_reference(headers: Path, details: Path) -> None:
    details.write_text(details.read_text().replace("orderID", "order"))

    run("import_orders", headers, "--lines", details, *NORTHWIND, "--lines-reference", "order")

    assert len(placed()) == 2


def test_a_missing_reference_of_the_lines_is_named_by_their_own_option(headers: Path, details: Path) -> None:
    details.write_text(details.read_text().replace("orderID", "order"))

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert f"{details} cannot be imported:\n  no column 'orderID': name the right one with --lines-reference" in error


def test_both_files_again_place_nothing_twice(headers: Path, details: Path) -> None:
    run("import_orders", headers, "--lines", details, *NORTHWIND)

    said = run("import_orders", headers, "--lines", details, *NORTHWIND)

    assert said == "0 sales orders placed (0 lines, 0 units), 2 already there, 0 skipped.\n"


@pytest.fixture
def unquoted(headers: Path, details: Path) -> Path:
    """Northwind's flaw: a comma in an address that is not quoted."""
    headers.write_text(
        "orderID,orderDate,address,city\n10248,1996-07-04,Rua do Paço, 67,Rio\n10249,1996-07-05,Luisenstr. 48,Münster\n"
    )
    return headers


def test_it_rejects_a_row_with_more_fields_than_headers_and_names_the_option_that_accepts_it(
    unquoted: Path, details: Path
) -> None:
    error = refusal("import_orders", unquoted, "--lines", details, *NORTHWIND[:2], *NORTHWIND[4:])

    assert error.startswith("1 bad row")
    assert f"{unquoted}, line 2: 5 fields under 4 headers (if those that are read come first, --extra-fields ignore" in error


def test_such_rows_are_read_from_the_left_on_request(unquoted: Path, details: Path) -> None:
    run("import_orders", unquoted, "--lines", details, *NORTHWIND[:2], *NORTHWIND[4:], "--extra-fields", "ignore")

    assert SalesOrder.objects.get(reference="10248").placed_at == datetime(1996, 7, 4, tzinfo=UTC)


def test_lines_of_an_order_with_a_bad_header_are_skipped_with_it(unquoted: Path, details: Path) -> None:
    said = run("import_orders", unquoted, "--lines", details, *NORTHWIND[:2], *NORTHWIND[4:], "--skip-bad-rows")

    assert placed() == {"10249": {"desk": 1}}
    assert said == "1 sales order placed (1 line, 1 unit), 0 already there, 1 skipped.\n"


def test_it_rejects_an_order_without_lines(headers: Path, details: Path) -> None:
    append(headers, "10250,HANAR,1996-07-08")

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert f"{headers}, line 4: the order's lines, taken together: An order needs at least one line" in error


def test_it_rejects_a_line_without_an_order(headers: Path, details: Path) -> None:
    append(details, "10250,chair,1.00,1")

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert f"{details}, line 5: the order '10250' is not in the file of orders" in error


def test_it_rejects_a_line_that_names_no_order(headers: Path, details: Path) -> None:
    append(details, ",chair,1.00,1")

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert f"{details}, line 5: reference is empty; whose line it is cannot be known" in error


def test_it_rejects_an_order_that_stands_twice_in_the_file_of_orders(headers: Path, details: Path) -> None:
    append(headers, "10248,VINET,1996-07-04 00:00:00.000")

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert error.startswith("1 bad row")
    assert f"{headers}, line 4: the order '10248' stands already on line 2" in error


def test_it_rejects_headers_that_name_no_order(headers: Path, details: Path) -> None:
    append(headers, ",HANAR,1996-07-08", ",HANAR,1996-07-08")

    error = refusal("import_orders", headers, "--lines", details, *NORTHWIND)

    assert f"{headers}, line 4: reference is empty\n" in error
    assert f"{headers}, line 5: reference is empty\n" in error


def test_an_order_with_a_bad_line_in_the_other_file_is_skipped_whole(headers: Path, details: Path) -> None:
    append(details, "10248,sofa,1.00,1", "10249,chair,1.00,0")

    said = run("import_orders", headers, "--lines", details, *NORTHWIND, "--skip-bad-rows")

    assert not SalesOrder.objects.exists()
    assert said.endswith("0 already there, 2 skipped.\n")
