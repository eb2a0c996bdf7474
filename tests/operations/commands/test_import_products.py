import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from orderflow.catalog.models import Product
from orderflow.operations.management import batches
from orderflow.operations.management.commands import import_products
from stock.models import MovementType, StockLevel, StockMovement
from stock.services import Adjustment, adjust_stock
from tests.conftest import product
from tests.operations.commands import TerminalOutput, run, run_error, run_stderr

pytestmark = pytest.mark.django_db


@pytest.fixture
def products(tmp_path: Path) -> Path:
    file = tmp_path / "products.csv"
    file.write_text("sku,name,on_hand\nchair,A chair,5\ndesk,A desk,0\nlamp,A lamp,\n")
    return file


def on_hand() -> dict[str, int]:
    return dict(StockLevel.objects.values_list("product__sku", "on_hand"))


# -- valid files ---------------------------------------------------------------------------------


def test_each_row_becomes_a_product_with_opening_stock(products: Path) -> None:
    output = run("import_products", products)

    assert dict(Product.objects.values_list("sku", "name")) == {
        "chair": "A chair",
        "desk": "A desk",
        "lamp": "A lamp",
    }
    assert on_hand() == {"chair": 5}
    assert output == (
        "3 products created, 0 already existed, 0 rows skipped. "
        "Opening stock recorded for 1 product: 5 units.\n"
    )


def test_opening_stock_is_an_adjustment_with_reason_and_actor(products: Path) -> None:
    run("import_products", products)

    movement = StockMovement.objects.get()
    assert (movement.movement_type, movement.on_hand, movement.reason) == (
        MovementType.ADJUSTED,
        5,
        "Opening stock",
    )
    assert movement.actor == "import_products"


def test_imported_product_stores_its_actor(products: Path) -> None:
    run("import_products", products)

    assert set(Product.objects.values_list("actor", flat=True)) == {"import_products"}


def test_longest_values_can_be_stored(products: Path) -> None:
    assert Product.sku.field.max_length == 100
    assert Product.name.field.max_length == 200
    products.write_text(f"sku,name,on_hand\n{'s' * 100},{'n' * 200},1000000000\n")

    run("import_products", products)

    assert on_hand() == {"s" * 100: 1_000_000_000}


def test_options_map_columns(products: Path) -> None:
    products.write_text("productID,supplier,productName,unitsInStock\n7,ACME,A chair,5\n")

    run(
        "import_products",
        products,
        "--sku-column",
        "productID",
        "--name-column",
        "productName",
        "--on-hand-column",
        "unitsInStock",
    )

    assert on_hand() == {"7": 5}
    assert Product.objects.get().name == "A chair"


def test_file_without_opening_stock_creates_only_products(products: Path) -> None:
    products.write_text("sku,name\nchair,A chair\n")

    run("import_products", products)

    assert Product.objects.count() == 1
    assert not StockLevel.objects.exists()


def test_repeated_import_changes_nothing(products: Path) -> None:
    run("import_products", products)

    output = run("import_products", products)

    assert on_hand() == {"chair": 5}
    assert output == (
        "0 products created, 3 already existed, 0 rows skipped. "
        "Opening stock recorded for 0 products: 0 units.\n"
    )


def test_later_file_can_add_opening_stock(products: Path) -> None:
    run("import_products", products)
    products.write_text("sku,name,on_hand\ndesk,A desk,2\n")

    run("import_products", products)

    assert on_hand() == {"chair": 5, "desk": 2}


def test_existing_product_stays_unchanged(products: Path) -> None:
    product("chair")

    run("import_products", products)

    assert Product.objects.get(sku="chair").name == "Chair"


def test_repeated_import_keeps_later_adjustments(products: Path) -> None:
    run("import_products", products)
    adjust_stock(
        [Adjustment(product_id=product("chair"), quantity=-3, reason="broken")], actor="tests"
    )

    run("import_products", products)

    assert on_hand() == {"chair": 2}


def test_rejects_different_opening_stock(products: Path) -> None:
    run("import_products", products)
    products.write_text("sku,name,on_hand\nchair,A chair,6\n")

    error = run_error("import_products", products)

    assert (
        'line 2: `on_hand` is 6, but the recorded opening stock of "chair" is 5. '
        "Record a stock adjustment instead.\n" in error
    )
    assert on_hand() == {"chair": 5}


def test_encoding_and_delimiter_can_be_set(products: Path) -> None:
    products.write_bytes("sku;name;on_hand\r\nstuhl;Stühle, grün;5\r\n".encode("cp1252"))

    run("import_products", products, "--encoding", "cp1252", "--delimiter", ";")

    assert Product.objects.get().name == "Stühle, grün"


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_delimiter_can_be_a_tab(products: Path, delimiter: str) -> None:
    products.write_text("sku\tname\nchair\tA chair\n")

    run("import_products", products, "--delimiter", delimiter)

    assert Product.objects.get().sku == "chair"


def test_blank_lines_spaces_and_byte_order_mark_are_ignored(products: Path) -> None:
    products.write_bytes(b"\xef\xbb\xbf\r\n sku , name\r\n\r\n chair , A chair \r\n,\r\n   \r\n")

    run("import_products", products)

    assert list(Product.objects.values_list("sku", "name")) == [("chair", "A chair")]


def test_interrupted_import_is_completed_by_a_second(
    products: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_products, "BATCH_SIZE", 1)
    with monkeypatch.context() as crash:
        calls = iter([adjust_stock])

        def adjust_once(*args: Any, **options: Any) -> object:
            return next(calls)(*args, **options)

        crash.setattr(import_products, "adjust_stock", adjust_once)
        with pytest.raises(StopIteration):
            run("import_products", products)
    assert Product.objects.count() == 1

    output = run("import_products", products)

    assert output.startswith("2 products created, 1 already existed")
    assert on_hand() == {"chair": 5}


# -- invalid rows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",A sofa,1", "`sku` is empty. A value is required.\n"),
        (f"{'x' * 101},A sofa,1", "`sku` has 101 characters. At most 100 are allowed.\n"),
        ("sofa,,1", "`name` is empty. A value is required.\n"),
        (f"sofa,{'x' * 201},1", "`name` has 201 characters. At most 200 are allowed.\n"),
        (
            "sofa,A sofa,many",
            '`on_hand` is "many". It must be a whole number from 0 to 1,000,000,000.\n',
        ),
        ("sofa,A sofa,-1", '`on_hand` is "-1".'),
        ("sofa,A sofa,1.5", '`on_hand` is "1.5".'),
        ("sofa,A sofa,1_000", '`on_hand` is "1_000".'),
        ("sofa,A sofa,٣", '`on_hand` is "٣".'),
        ("sofa,A sofa,1000000001", '`on_hand` is "1000000001".'),
        (f"sofa,A sofa,{'9' * 5000}", f'`on_hand` is "{"9" * 60}…".'),
        ("sofa,A sofa,\x1b[2J", '`on_hand` is "\\x1b[2J".'),
        ("sofa,A so\0fa,1", "`name` contains a NUL character. Remove it.\n"),
        (
            "sofa,A sofa",
            "The row has 2 fields, but the header has 3: `on_hand` is missing.\n",
        ),
        (
            "sofa,A sofa, green,1",
            "The row has 4 fields, but the header has 3. If only its last fields are "
            "superfluous, use --extra-fields ignore.\n",
        ),
        (
            "chair,Another chair,1",
            'The SKU "chair" is already on line 2. Remove one of the rows.\n',
        ),
        ('sofa,"A sofa" green,1', "The row, which ends on line 5, is not valid CSV: "),
        ('sofa,"A sofa,1\n,,\n', "The row, which ends on line 6, is not valid CSV: "),
    ],
)
def test_rejects_file_with_an_invalid_row(products: Path, row: str, reason: str) -> None:
    with products.open("a") as file:
        file.write(row)

    error = run_error("import_products", products)

    assert error.startswith("1 invalid row:\n")
    assert f"{products}, line 5: {reason}" in error
    assert error.endswith(
        "Correct the file, or import the valid rows with --skip-invalid-rows. "
        "No changes were made."
    )
    assert not Product.objects.exists()


def test_invalid_rows_are_reported_with_line_and_all_errors(products: Path) -> None:
    products.write_text(
        'sku,name,on_hand\nchair,"A\nchair\nof wood",5\ndesk,,no\n\n"","A\nlamp",0\n'
    )

    error = run_error("import_products", products)

    assert (
        f"{products}, line 5: `name` is empty. A value is required. "
        '`on_hand` is "no". It must be' in error
    )
    assert f"{products}, line 7: `sku` is empty." in error


def test_invalid_rows_can_be_skipped(products: Path) -> None:
    with products.open("a") as file:
        file.write("sofa,A sofa,many\n")

    output = run("import_products", products, "--skip-invalid-rows")

    assert output.startswith("3 products created, 0 already existed, 1 row skipped.")
    assert not Product.objects.filter(sku="sofa").exists()


def test_skipped_rows_are_listed(products: Path) -> None:
    with products.open("a") as file:
        file.write("sofa,A sofa,many\n")

    output = run_stderr("import_products", products, "--skip-invalid-rows")

    assert f"Skipping 1 invalid row:\n  {products}, line 5: `on_hand`" in output


def test_rows_below_invalid_csv_are_imported(products: Path) -> None:
    products.write_text('sku,name\nchair,"A chair" of wood\ndesk,A desk\n')

    run("import_products", products, "--skip-invalid-rows")

    assert Product.objects.get().sku == "desk"


def test_extra_fields_can_be_ignored(products: Path) -> None:
    products.write_text("sku,name,address\nchair,A chair,Main Street, 5\n")

    run("import_products", products, "--extra-fields", "ignore")

    assert Product.objects.get().name == "A chair"


def test_at_most_50_invalid_rows_are_listed(products: Path) -> None:
    products.write_text("sku,name\n" + ",A chair\n" * 60)

    error = run_error("import_products", products)

    assert error.startswith("60 invalid rows:\n")
    assert error.count("`sku` is empty") == 50
    assert "… and 10 more\n" in error


# -- unreadable files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty. Its first line must contain the column names."),
        ("\n\n", "is empty. Its first line must contain the column names."),
        (
            "id,name\n1,A chair\n",
            'lacks 1 column:\n  "sku": set its header with --sku-column\n'
            'Its columns are "id", "name".',
        ),
        ("sku;name\n1;A chair\n", "set it with --delimiter."),
        (
            "sku,name,sku\n1,A chair,2\n",
            'has several columns "sku". Rename the columns that must not be imported.',
        ),
        ('"sku"s,name\n1,A chair\n', "line 1: The row, which ends on line 1, is not valid CSV"),
    ],
)
def test_rejects_file_without_valid_header(products: Path, content: str, reason: str) -> None:
    products.write_text(content)

    error = run_error("import_products", products)

    assert reason in error
    assert error.endswith("No changes were made.")


def test_all_missing_columns_are_listed(products: Path) -> None:
    products.write_text("id,title\n1,A chair\n")

    error = run_error("import_products", products, "--on-hand-column", "units")

    options = ["--sku-column", "--name-column", "--on-hand-column"]
    assert [option for option in options if option in error] == options


def test_rejects_wrong_encoding_and_names_the_line(products: Path) -> None:
    rows = "".join(f"sku {number},A chair\n" for number in range(2000))
    products.write_bytes(f"sku,name\n{rows}stühle,Stühle\n".encode("cp1252"))

    error = run_error("import_products", products)

    assert error == (
        f"{products}, line 2002 is not valid utf-8-sig. Set the encoding of the file, "
        "for example --encoding cp1252. No changes were made."
    )
    assert not Product.objects.exists()


def test_rejects_utf_16_without_byte_order_mark(products: Path) -> None:
    products.write_bytes("sku,name\n".encode("utf-16-le"))

    error = run_error("import_products", products, "--encoding", "utf-16")

    # Python 3.13 reports the position, too.
    assert re.search(rf"{re.escape(str(products))}(, line 1)? is not valid utf-16\.", error)


def test_rejects_path_that_is_not_a_file(tmp_path: Path) -> None:
    missing = run_error("import_products", tmp_path / "nothing.csv")
    assert "cannot be read: No such file or directory." in missing
    assert "cannot be read: Is a directory." in run_error("import_products", tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--encoding", "latin-99", '"latin-99" is not a known encoding.'),
        ("--encoding", "base64", '"base64" is not a known encoding.'),
        (
            "--delimiter",
            ";;",
            "\";;\" is not a delimiter. Use one character, such as ';', or 'tab'.",
        ),
        ("--delimiter", '"', "is not a delimiter."),
    ],
)
def test_rejects_unknown_encoding_and_delimiter(
    products: Path, option: str, value: str, reason: str
) -> None:
    assert reason in run_error("import_products", products, option, value)


# -- progress ------------------------------------------------------------------------------------


def test_terminal_shows_progress(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PROGRESS_INTERVAL", 0.0)
    terminal = TerminalOutput()

    call_command("import_products", str(products), stdout=StringIO(), stderr=terminal)

    assert f"\rReading {products}, line: 4\n" in terminal.getvalue()
    assert "\rProducts imported: 3\n" in terminal.getvalue()


def test_log_file_shows_no_progress(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PROGRESS_INTERVAL", 0.0)

    assert run_stderr("import_products", products) == ""
