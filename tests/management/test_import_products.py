from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from orderflow.catalog.models import Product
from orderflow.management import batches
from orderflow.management.commands import import_products
from stock.models import Balance, Movement, StockMovement
from stock.services import Adjustment, adjust_stock
from tests.conftest import product
from tests.management import Terminal, complaints, refusal, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def products(tmp_path: Path) -> Path:
    file = tmp_path / "products.csv"
    file.write_text("sku,name,on_hand\nchair,A chair,5\ndesk,A desk,0\nlamp,A lamp,\n")
    return file


def on_hand() -> dict[str, int]:
    return dict(Balance.objects.values_list("product__sku", "on_hand"))


# -- what is imported -----------------------------------------------------------------------------------------------------


def test_each_row_becomes_a_product_with_its_opening_stock(products: Path) -> None:
    said = run("import_products", products)

    assert dict(Product.objects.values_list("sku", "name")) == {"chair": "A chair", "desk": "A desk", "lamp": "A lamp"}
    assert on_hand() == {"chair": 5}
    assert said == "3 products created, 0 already there, 0 skipped. Opening stock booked for 1 product: 5 units.\n"


def test_the_ledger_says_where_the_opening_stock_came_from(products: Path) -> None:
    run("import_products", products)

    movement = StockMovement.objects.get()
    assert (movement.kind, movement.on_hand, movement.reason) == (Movement.ADJUSTED, 5, "Opening stock")
    assert movement.by == "import_products"


def test_other_peoples_column_names_are_mapped_by_options(products: Path) -> None:
    products.write_text("productID,supplier,productName,unitsInStock\n7,ACME,A chair,5\n")

    run("import_products", products, "--sku", "productID", "--name", "productName", "--on-hand", "unitsInStock")

    assert on_hand() == {"7": 5}


def test_a_file_without_opening_stock_creates_products_only(products: Path) -> None:
    products.write_text("sku,name\nchair,A chair\n")

    run("import_products", products)

    assert Product.objects.count() == 1
    assert not Balance.objects.exists()


def test_the_same_file_again_creates_and_books_nothing_twice(products: Path) -> None:
    run("import_products", products)

    said = run("import_products", products)

    assert on_hand() == {"chair": 5}
    assert said == "0 products created, 3 already there, 0 skipped. Opening stock booked for 0 products: 0 units.\n"


def test_opening_stock_can_come_with_a_later_file(products: Path) -> None:
    run("import_products", products)
    products.write_text("sku,name,on_hand\ndesk,A desk,2\n")

    run("import_products", products)

    assert on_hand() == {"chair": 5, "desk": 2}


def test_a_product_that_exists_stays_as_it_is(products: Path) -> None:
    product("chair")

    run("import_products", products)

    assert Product.objects.get(sku="chair").name == "Chair"


def test_what_happened_to_the_stock_since_does_not_matter_to_the_same_file(products: Path) -> None:
    run("import_products", products)
    adjust_stock([Adjustment(product_id=product("chair"), quantity=-3, reason="broken")], by="tests")

    run("import_products", products)

    assert on_hand() == {"chair": 2}


def test_it_rejects_another_opening_stock_than_the_one_that_was_booked(products: Path) -> None:
    run("import_products", products)
    products.write_text("sku,name,on_hand\nchair,A chair,6\n")

    error = refusal("import_products", products)

    assert "line 2: on_hand is 6, but 5 were booked as the opening stock of 'chair'" in error
    assert "correct it with a stock adjustment" in error
    assert on_hand() == {"chair": 5}


def test_a_file_from_excel_is_read_with_its_encoding_and_delimiter(products: Path) -> None:
    products.write_bytes("sku;name;on_hand\r\nstuhl;Stühle, grün;5\r\n".encode("cp1252"))

    run("import_products", products, "--encoding", "cp1252", "--delimiter", ";")

    assert Product.objects.get().name == "Stühle, grün"


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_tabs_can_be_named(products: Path, delimiter: str) -> None:
    products.write_text("sku\tname\nchair\tA chair\n")

    run("import_products", products, "--delimiter", delimiter)

    assert Product.objects.get().sku == "chair"


def test_blank_lines_spaces_and_a_byte_order_mark_mean_nothing(products: Path) -> None:
    products.write_bytes(b"\xef\xbb\xbf\r\n sku , name\r\n\r\n chair , A chair \r\n,\r\n   \r\n")

    run("import_products", products)

    assert list(Product.objects.values_list("sku", "name")) == [("chair", "A chair")]


def test_a_run_that_was_cut_off_is_completed_by_another(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_products, "BATCH", 1)
    with monkeypatch.context() as crash:
        booking = iter([adjust_stock])
        crash.setattr(import_products, "adjust_stock", lambda *args, **options: next(booking)(*args, **options))
        with pytest.raises(StopIteration):
            run("import_products", products)
    assert Product.objects.count() == 1

    said = run("import_products", products)

    assert said.startswith("2 products created, 1 already there")
    assert on_hand() == {"chair": 5}


# -- bad rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",A sofa,1", "sku is empty"),
        (f"{'x' * 101},A sofa,1", "sku has 101 characters, and may have 100"),
        ("sofa,,1", "name is empty"),
        (f"sofa,{'x' * 201},1", "name has 201 characters, and may have 200"),
        ("sofa,A sofa,many", "on_hand is 'many', and should be a whole number from 0 to 1,000,000,000"),
        ("sofa,A sofa,-1", "on_hand is '-1'"),
        ("sofa,A sofa,1.5", "on_hand is '1.5'"),
        ("sofa,A sofa,1_000", "on_hand is '1_000'"),
        ("sofa,A sofa,٣", "on_hand is '٣'"),
        ("sofa,A sofa,1000000001", "on_hand is '1000000001'"),
        (f"sofa,A sofa,{'9' * 5000}", "on_hand is '99999"),
        ("sofa,A so\0fa,1", "name contains a NUL character"),
        ("sofa,A sofa", "2 fields under 3 headers: on_hand is not among them"),
        (
            "sofa,A sofa, green,1",
            "4 fields under 3 headers (if those that are read come first, --extra-fields ignore accepts it)",
        ),
        ("chair,Another chair,1", "the SKU 'chair' stands already on line 2"),
        ('sofa,"A sofa" green,1', "the quotes are not in order, up to line 5"),
        ('sofa,"A sofa,1\n,,\n', "the quotes are not in order, up to line 6"),
    ],
)
def test_it_rejects_a_bad_row_with_the_reason_and_imports_nothing(products: Path, row: str, reason: str) -> None:
    with products.open("a") as file:
        file.write(row)

    error = refusal("import_products", products)

    assert error.startswith("1 bad row, so nothing was imported:\n")
    assert f"{products}, line 5: {reason}" in error
    assert "--skip-bad-rows" in error
    assert not Product.objects.exists()


def test_every_bad_row_is_reported_with_all_its_reasons_by_its_line_in_the_file(products: Path) -> None:
    products.write_text('sku,name,on_hand\nchair,"A\nchair\nof wood",5\ndesk,,no\n\n"","A\nlamp",0\n')

    error = refusal("import_products", products)

    assert f"{products}, line 5: name is empty; on_hand is 'no', and should be" in error
    assert f"{products}, line 7: sku is empty" in error


def test_bad_rows_can_be_skipped(products: Path) -> None:
    with products.open("a") as file:
        file.write("sofa,A sofa,many\n")

    said = run("import_products", products, "--skip-bad-rows")

    assert said.startswith("3 products created, 0 already there, 1 skipped.")
    assert not Product.objects.filter(sku="sofa").exists()


def test_what_is_skipped_is_said(products: Path) -> None:
    with products.open("a") as file:
        file.write("sofa,A sofa,many\n")

    assert "Skipping 1 bad row:\n" in complaints("import_products", products, "--skip-bad-rows")


def test_a_row_that_cannot_be_parsed_does_not_hide_those_below_it(products: Path) -> None:
    products.write_text('sku,name\nchair,"A chair" of wood\ndesk,A desk\n')

    run("import_products", products, "--skip-bad-rows")

    assert Product.objects.get().sku == "desk"


def test_fields_without_a_header_can_be_ignored(products: Path) -> None:
    products.write_text("sku,name,address\nchair,A chair,Main Street, 5\n")

    run("import_products", products, "--extra-fields", "ignore")

    assert Product.objects.get().name == "A chair"


def test_of_very_many_bad_rows_the_first_are_listed_and_the_others_counted(products: Path) -> None:
    products.write_text("sku,name\n" + ",A chair\n" * 60)

    error = refusal("import_products", products)

    assert error.startswith("60 bad rows")
    assert error.count("sku is empty") == 50
    assert "… and 10 more" in error


# -- files that cannot be read at all -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty: its first line should name the columns."),
        ("\n\n", "is empty: its first line should name the columns."),
        ("id,name\n1,A chair\n", "no column 'sku': name the right one with --sku\nIts columns are: 'id', 'name'."),
        ("sku;name\n1;A chair\n", "name what separates them with --delimiter"),
        ("sku,name,sku\n1,A chair,2\n", "has several columns 'sku'. Rename those that are not to be read."),
        ('"sku"s,name\n1,A chair\n', "line 1: the quotes are not in order"),
    ],
)
def test_it_rejects_a_file_without_the_columns_to_read(products: Path, content: str, reason: str) -> None:
    products.write_text(content)

    assert reason in refusal("import_products", products)


def test_every_column_that_is_missing_is_named_at_once(products: Path) -> None:
    products.write_text("id,title\n1,A chair\n")

    error = refusal("import_products", products, "--on-hand", "units")

    assert [option for option in ("--sku", "--name", "--on-hand") if option in error] == ["--sku", "--name", "--on-hand"]


def test_it_rejects_another_encoding_and_says_where(products: Path) -> None:
    rows = "".join(f"sku {number},A chair\n" for number in range(2000))
    products.write_bytes(f"sku,name\n{rows}stühle,Stühle\n".encode("cp1252"))

    error = refusal("import_products", products)

    assert f"{products}, line 2002: this is not utf-8-sig. Name the file's encoding, for example --encoding cp1252." in error
    assert not Product.objects.exists()


def test_it_rejects_utf_16_without_its_mark(products: Path) -> None:
    products.write_bytes("sku,name\n".encode("utf-16-le"))

    assert "this is not utf-16." in refusal("import_products", products, "--encoding", "utf-16")


def test_it_rejects_a_file_that_is_none(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory." in refusal("import_products", tmp_path / "nothing.csv")
    assert "cannot be read: Is a directory." in refusal("import_products", tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--encoding", "latin-99", "'latin-99' is no encoding that Python knows"),
        ("--encoding", "base64", "'base64' is no encoding that Python knows"),
        ("--delimiter", ";;", "';;' is not one character, such as ';', or 'tab'"),
        ("--delimiter", '"', "is not one character"),
    ],
)
def test_it_rejects_options_that_mean_nothing(products: Path, option: str, value: str, reason: str) -> None:
    assert reason in refusal("import_products", products, option, value)


# -- signs of life --------------------------------------------------------------------------------------------------------


def test_a_terminal_shows_how_far_a_long_file_is(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "EVERY", 0.0)
    terminal = Terminal()

    call_command("import_products", str(products), stdout=StringIO(), stderr=terminal)

    assert f"\rReading {products}, line: 4\n" in terminal.getvalue()
    assert "\rProducts imported: 3\n" in terminal.getvalue()


def test_a_log_file_is_spared_the_signs_of_life(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "EVERY", 0.0)

    assert complaints("import_products", products) == ""
