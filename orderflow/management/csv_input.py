"""What the commands share that read CSV files: columns under other people's names, and bad rows. It knows no order."""

import csv
import heapq
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db.models import CharField, Model

from orderflow.management.batches import Progress

if TYPE_CHECKING:
    from _csv import Reader

T = TypeVar("T")

SHOWN = 50  # bad rows that are listed; more of them would hide the sentence that says what to do

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that a command reads: under its own name, or under the header that the caller gives with its option.

    One that is not `required` may be absent, unless its option asks for it: its values are then empty.
    """

    name: str
    help: str
    required: bool = True
    option_name: str = ""

    @property
    def option(self) -> str:
        return f"--{self.key.replace('_', '-')}"

    @property
    def key(self) -> str:
        """Where the options have it."""
        return self.option_name or self.name


class Place(NamedTuple):
    """Where a row begins, as an editor counts lines: a quoted field may go over several."""

    file: str
    line: int


class Row(NamedTuple):
    """The values by the columns' names, without the spaces around them."""

    place: Place
    values: dict[str, str]


class BadValue(ValueError):
    """A field does not say what its column is for; `str()` says why, after the column's name."""


class BadRows:
    """Which rows cannot be imported, and why: collected until all of them are known."""

    def __init__(self) -> None:
        self._reasons: dict[Place, list[str]] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, place: Place) -> bool:
        return place in self._reasons

    def add(self, place: Place, reason: str) -> None:
        self._reasons.setdefault(place, []).append(reason)

    def tried(self, row: Row, name: str, parse: Callable[[str], T]) -> T | None:
        """What `parse` makes of a value. Where it raises `BadValue`, the row is bad, and there is nothing."""
        try:
            return parse(row.values[name])
        except BadValue as error:
            self.add(row.place, f"{name} {error}")
            return None

    def tried_if_given(self, row: Row, name: str, parse: Callable[[str], T]) -> T | None:
        """The same, but an empty value says nothing, and is not bad."""
        return self.tried(row, name, parse) if row.values[name] else None

    def report(self, stderr: OutputWrapper, *, skip: bool) -> None:
        """To be called before anything is written. Raises `CommandError` with all of them, unless they are to be skipped."""
        if not self._reasons:
            return
        rows = counted(len(self), "bad row")
        if skip:
            stderr.write(f"Skipping {rows}:\n{self._listing()}")
            return
        advice = "Correct the input, or import the rest of it with --skip-bad-rows."
        raise CommandError(f"{rows}, so nothing was imported:\n{self._listing()}\n{advice}")

    def _listing(self) -> str:
        first = heapq.nsmallest(SHOWN, self._reasons)
        lines = [f"  {place.file}, line {place.line}: {'; '.join(self._reasons[place])}" for place in first]
        if len(self._reasons) > SHOWN:
            lines.append(f"  … and {len(self._reasons) - SHOWN:,} more")
        return "\n".join(lines)


def add_file_options(parser: CommandParser) -> None:
    parser.add_argument("--encoding", type=_encoding, default="utf-8-sig", help="default: UTF-8; Excel often writes cp1252")
    parser.add_argument("--delimiter", type=_delimiter, default=",", help="what separates two fields: a character, or 'tab'")
    parser.add_argument(
        "--extra-fields",
        choices=["refuse", "ignore"],
        default="refuse",
        help="a row with more fields than the header is bad (the default), or what is too much at its right end is ignored",
    )
    parser.add_argument("--skip-bad-rows", action="store_true", help="import the rest; without it a bad row stops everything")


def add_columns(parser: CommandParser, columns: Sequence[Column]) -> None:
    for column in columns:
        default = f"default: {column.name}{'' if column.required else ', which may be absent'}"
        parser.add_argument(column.option, metavar="HEADER", dest=column.key, help=f"{column.help}; {default}")


def read_rows(
    file: str, columns: Sequence[Column], options: Mapping[str, Any], bad: BadRows, stderr: OutputWrapper
) -> Iterator[Row]:
    """The rows below the header that say anything. A bad one comes, too, with what can be read of it.

    Raises `CommandError` where there is no use in going on: no such file or column, another encoding.
    """
    progress = Progress(f"Reading {file}, line", stderr)
    try:
        with open(file, encoding=options["encoding"], newline="") as text:
            reader = csv.reader(text, delimiter=options["delimiter"], strict=True)
            for row in _rows(reader, file, columns, options, bad):
                progress.at(row.place.line)
                yield row
    except UnicodeDecodeError as error:
        line = reader.line_num + 1 + error.object[: error.start].count(b"\n")  # lines that were delivered, and read ahead
        raise CommandError(_not_encoded(f"{file}, line {line}", options["encoding"])) from error
    except UnicodeError as error:
        raise CommandError(_not_encoded(file, options["encoding"])) from error
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    finally:
        progress.done()


def text_for(model: type[Model], field_name: str) -> Callable[[str], str]:
    """A parser for `BadRows.tried`: takes what this field of the model can hold."""
    field = model._meta.get_field(field_name)
    assert isinstance(field, CharField)

    def parse(value: str) -> str:
        if not value and not field.blank:
            raise BadValue("is empty")
        if field.max_length and len(value) > field.max_length:
            raise BadValue(f"has {len(value):,} characters, and may have {field.max_length}")
        return value

    return parse


def whole_number_for(least: int, most: int) -> Callable[[str], int]:
    """A parser for `BadRows.tried`: takes whole numbers, both ends included."""

    def parse(value: str) -> int:
        if _WHOLE.fullmatch(value) and least <= int(value) <= most:
            return int(value)
        raise BadValue(f"is {shown(value)}, and should be a whole number from {least:,} to {most:,}")

    return parse


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(*values: str) -> str:
    """Values for a sentence: quoted, not too long, and harmless to a terminal."""
    first = [repr(value if len(value) <= 60 else f"{value[:60]}…") for value in values[:SHOWN]]
    return ", ".join(first) + (f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else "")


# -- reading --------------------------------------------------------------------------------------------------------------


def _rows(reader: "Reader", file: str, columns: Sequence[Column], options: Mapping[str, Any], bad: BadRows) -> Iterator[Row]:
    header = _header(reader, file)
    positions = _positions(header, file, columns, options)
    longest = len(header) if options["extra_fields"] == "refuse" else None
    for line, fields, problem in _records(reader):
        if not problem and not any(field.strip() for field in fields):
            continue
        row = Row(Place(file, line), {name: _field(fields, position) for name, position in positions.items()})
        problem = problem or _misfit(fields, header, positions, longest)
        if problem:
            bad.add(row.place, problem)
        yield row


def _records(reader: "Reader") -> Iterator[tuple[int, list[str], str]]:
    """Each record with the line where it begins, and what keeps it from being CSV."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            yield line, [], f"the quotes are not in order, up to line {reader.line_num} ({error})"


def _header(reader: "Reader", file: str) -> list[str]:
    for line, fields, problem in _records(reader):
        if problem:
            raise CommandError(f"{file}, line {line}: {problem}.")
        names = [field.strip() for field in fields]
        if any(names):
            return names
    raise CommandError(f"{file} is empty: its first line should name the columns.")


def _positions(header: Sequence[str], file: str, columns: Sequence[Column], options: Mapping[str, Any]) -> dict[str, int]:
    """Where each column stands; -1: nowhere. Raises `CommandError` that names every column that is missing, and its option."""
    missing = []
    positions = {}
    for column in columns:
        wanted = options[column.key] or column.name
        if header.count(wanted) > 1:
            raise CommandError(f"{file} has several columns {shown(wanted)}. Rename those that are not to be read.")
        positions[column.name] = header.index(wanted) if wanted in header else -1
        if wanted not in header and (column.required or options[column.key]):
            missing.append(f"  no column {shown(wanted)}: name the right one with {column.option}")
    if missing:
        advice = "If that is several columns in one, name what separates them with --delimiter." if len(header) == 1 else ""
        raise CommandError(
            "\n".join([f"{file} cannot be imported:", *missing, f"Its columns are: {shown(*header)}. {advice}".strip()])
        )
    return positions


def _field(fields: Sequence[str], position: int) -> str:
    return fields[position].strip() if 0 <= position < len(fields) else ""


def _misfit(fields: Sequence[str], header: Sequence[str], positions: Mapping[str, int], longest: int | None) -> str:
    """Why these fields cannot be relied on; empty if they can."""
    if longest is not None and len(fields) > longest:
        return (
            f"{len(fields)} fields under {longest} headers (if those that are read come first, --extra-fields ignore accepts it)"
        )
    for name, position in positions.items():
        if position >= len(fields):
            return f"{len(fields)} fields under {len(header)} headers: {name} is not among them"
        if position >= 0 and "\0" in fields[position]:
            return f"{name} contains a NUL character"
    return ""


def _not_encoded(where: str, encoding: str) -> str:
    return f"{where}: this is not {encoding}. Name the file's encoding, for example --encoding cp1252. Nothing was imported."


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError as error:
        raise ArgumentTypeError(f"{name!r} is no encoding that Python knows. Try utf-8, cp1252 or utf-16.") from error
    return name


def _delimiter(text: str) -> str:
    delimiter = "\t" if text in ("tab", "\\t") else text
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ArgumentTypeError(f"{text!r} is not one character, such as ';', or 'tab'.")
    return delimiter
