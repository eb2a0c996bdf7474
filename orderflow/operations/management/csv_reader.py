"""Read the rows of a CSV file and collect the invalid ones."""

import csv
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.core.management.base import CommandError, OutputWrapper

from orderflow.operations.management.batches import Progress
from orderflow.operations.management.csv_options import Column
from orderflow.operations.management.csv_values import InvalidValue
from orderflow.operations.management.texts import pluralize, quoted

if TYPE_CHECKING:
    from _csv import Reader

T = TypeVar("T")

MAX_ROWS_SHOWN = 50  # so that the advice below the list stays visible


class RowLocation(NamedTuple):
    """The first line of a row, as editors count lines; a row can span several lines."""

    file: str
    line: int


class Row(NamedTuple):
    """The values by column name, without surrounding spaces."""

    location: RowLocation
    values: dict[str, str]


class InvalidRows:
    """Collects the rows that cannot be imported, each with its errors."""

    def __init__(self) -> None:
        self._errors: dict[RowLocation, list[str]] = {}

    def __len__(self) -> int:
        return len(self._errors)

    def __contains__(self, location: RowLocation) -> bool:
        return location in self._errors

    def add(self, location: RowLocation, error: str) -> None:
        self._errors.setdefault(location, []).append(error)

    def parse(self, row: Row, column: str, parser: Callable[[str], T]) -> T | None:
        """Return the parsed value; after `InvalidValue`, add the row and return None."""
        try:
            return parser(row.values[column])
        except InvalidValue as error:
            self.add(row.location, f"`{column}` {error}")
            return None

    def parse_optional(self, row: Row, column: str, parser: Callable[[str], T]) -> T | None:
        """Return the parsed value, or None if it is empty; see `parse`."""
        return self.parse(row, column, parser) if row.values[column] else None

    def report(self, stderr: OutputWrapper, *, skip: bool) -> None:
        """List the invalid rows. Call it before anything is written.

        Raises: `CommandError`, if there are invalid rows and `skip` is false.
        """
        if not self._errors:
            return
        rows = pluralize(len(self), "invalid row")
        if skip:
            stderr.write(f"Skipping {rows}:\n{self._listing()}")
            return
        raise CommandError(
            f"{rows}:\n{self._listing()}\nCorrect the file, or import the valid rows with "
            "--skip-invalid-rows. No changes were made."
        )

    def _listing(self) -> str:
        lines = [
            f"  {location.file}, line {location.line}: {' '.join(self._errors[location])}"
            for location in heapq.nsmallest(MAX_ROWS_SHOWN, self._errors)
        ]
        if len(self) > MAX_ROWS_SHOWN:
            lines.append(f"  … and {len(self) - MAX_ROWS_SHOWN:,} more")
        return "\n".join(lines)


def read_rows(
    file: str,
    columns: Sequence[Column],
    options: Mapping[str, Any],
    invalid: InvalidRows,
    stderr: OutputWrapper,
) -> Iterator[Row]:
    """Yield the rows below the header that are not empty, invalid ones included.

    Raises: `CommandError`, if the file, its encoding or a column prevents reading.
    """
    progress = Progress(f"Reading {file}, line", stderr)
    try:
        with open(file, encoding=options["encoding"], newline="") as stream:
            reader = csv.reader(stream, delimiter=options["delimiter"], strict=True)
            header = _read_header(reader, file, columns, options)
            for row in _data_rows(reader, header, invalid):
                progress.update(row.location.line)
                yield row
    except UnicodeDecodeError as error:
        # The reader has returned some lines; the stream has decoded more of them ahead.
        line = reader.line_num + 1 + error.object[: error.start].count(b"\n")
        raise _encoding_error(f"{file}, line {line}", options["encoding"]) from error
    except UnicodeError as error:
        raise _encoding_error(file, options["encoding"]) from error
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read: {error.strerror}. Check the path. No changes were made."
        ) from error
    finally:
        progress.finish()


def _encoding_error(subject: str, encoding: str) -> CommandError:
    return CommandError(
        f"{subject} is not valid {encoding}. Set the encoding of the file, for example "
        "--encoding cp1252. No changes were made."
    )


# -- header --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Header:
    """`indexes`: by column name; None for an absent column."""

    file: str
    width: int
    indexes: Mapping[str, int | None]
    allow_extra_fields: bool


def _read_header(
    reader: "Reader", file: str, columns: Sequence[Column], options: Mapping[str, Any]
) -> _Header:
    headers = _header_fields(reader, file)
    _check_unique(file, headers, columns, options)
    _check_present(file, headers, columns, options)
    wanted = {column.name: options[column.dest] or column.name for column in columns}
    return _Header(
        file=file,
        width=len(headers),
        indexes={
            name: headers.index(header) if header in headers else None
            for name, header in wanted.items()
        },
        allow_extra_fields=options["extra_fields"] == "ignore",
    )


def _header_fields(reader: "Reader", file: str) -> list[str]:
    for line, fields, error in _records(reader):
        if error:
            raise CommandError(f"{file}, line {line}: {error} No changes were made.")
        headers = [field.strip() for field in fields]
        if any(headers):
            return headers
    raise CommandError(
        f"{file} is empty. Its first line must contain the column names. No changes were made."
    )


def _check_unique(
    file: str, headers: Sequence[str], columns: Sequence[Column], options: Mapping[str, Any]
) -> None:
    for column in columns:
        header = options[column.dest] or column.name
        if headers.count(header) > 1:
            raise CommandError(
                f"{file} has several columns {quoted(header)}. Rename the columns that must not "
                "be imported. No changes were made."
            )


def _check_present(
    file: str, headers: Sequence[str], columns: Sequence[Column], options: Mapping[str, Any]
) -> None:
    missing = [
        f"  {quoted(options[column.dest] or column.name)}: set its header with {column.option}"
        for column in columns
        if (options[column.dest] or column.name) not in headers
        and (column.required or options[column.dest])
    ]
    if not missing:
        return
    advice = "If a different character separates the columns, set it with --delimiter. "
    raise CommandError(
        f"{file} lacks {pluralize(len(missing), 'column')}:\n"
        + "\n".join(missing)
        + f"\nIts columns are {quoted(*headers)}. {advice if len(headers) == 1 else ''}"
        "No changes were made."
    )


# -- rows ----------------------------------------------------------------------------------------


def _data_rows(reader: "Reader", header: _Header, invalid: InvalidRows) -> Iterator[Row]:
    for line, fields, error in _records(reader):
        if not error and not any(field.strip() for field in fields):
            continue
        values = {name: _value(fields, index) for name, index in header.indexes.items()}
        row = Row(RowLocation(header.file, line), values)
        error = error or _fields_error(fields, header)
        if error:
            invalid.add(row.location, error)
        yield row


def _records(reader: "Reader") -> Iterator[tuple[int, list[str], str]]:
    """Yield the first line, the fields, and the syntax error of each record."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            text = f"The row, which ends on line {reader.line_num}, is not valid CSV: {error}."
            yield line, [], f"{text} Check its quotation marks."


def _value(fields: Sequence[str], index: int | None) -> str:
    return fields[index].strip() if index is not None and index < len(fields) else ""


def _fields_error(fields: Sequence[str], header: _Header) -> str:
    """Return why the fields cannot be assigned to the columns; "" if they can."""
    sizes = f"The row has {pluralize(len(fields), 'field')}, but the header has {header.width}"
    if len(fields) > header.width and not header.allow_extra_fields:
        return f"{sizes}. If only its last fields are superfluous, use --extra-fields ignore."
    for name, index in header.indexes.items():
        if index is None:
            continue
        if index >= len(fields):
            return f"{sizes}: `{name}` is missing."
        if "\0" in fields[index]:
            return f"`{name}` contains a NUL character. Remove it."
    return ""
