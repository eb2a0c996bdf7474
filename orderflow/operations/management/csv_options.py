"""Command-line options of the commands that read CSV files."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.management.base import CommandParser

from orderflow.operations.management.texts import quoted


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that a command reads. An option maps it to another header.

    Without `required` the column may be absent, unless its option is given; its values are then
    empty. `option_name`: if another column has the same name.
    """

    name: str
    help: str
    required: bool = True
    option_name: str = ""

    @property
    def option(self) -> str:
        return f"--{self.dest.replace('_', '-')}"

    @property
    def dest(self) -> str:
        """Return the key of the option in `options`."""
        return f"{self.option_name or self.name}_column"


def add_column_options(parser: CommandParser, columns: Sequence[Column]) -> None:
    for column in columns:
        default = f"default: {column.name}{'' if column.required else '; optional column'}"
        parser.add_argument(
            column.option,
            metavar="HEADER",
            help=f"header of the column with the {column.help} ({default})",
        )


def add_file_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--encoding",
        type=_encoding,
        default="utf-8-sig",
        help="encoding of the file (default: UTF-8); files from Excel are often cp1252",
    )
    parser.add_argument(
        "--delimiter",
        type=_delimiter,
        default=",",
        help="character between two fields, or 'tab' (default: comma)",
    )
    parser.add_argument(
        "--extra-fields",
        choices=["error", "ignore"],
        default="error",
        help="a row with more fields than the header is an error, or its last fields are ignored "
        "(default: error)",
    )
    parser.add_argument(
        "--skip-invalid-rows",
        action="store_true",
        help="skip invalid rows, and each order that has one; without this option, one invalid "
        "row prevents the import",
    )


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError as error:
        raise ArgumentTypeError(
            f"{quoted(name)} is not a known encoding. Use utf-8, cp1252 or utf-16, for example."
        ) from error
    return name


def _delimiter(value: str) -> str:
    delimiter = "\t" if value in ("tab", "\\t") else value
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ArgumentTypeError(
            f"{quoted(value)} is not a delimiter. Use one character, such as ';', or 'tab'."
        )
    return delimiter
