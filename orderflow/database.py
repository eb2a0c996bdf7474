"""What Django's ORM leaves open about databases: a bulk update that is cheap, and a snapshot to read from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection, transaction
from django.db.models import Model

M = TypeVar("M", bound=Model)


def save_rows(rows: Sequence[M], fields: Sequence[str]) -> None:
    """Insert these rows, or update `fields` of those that exist, in one statement for each thousand or so.

    An upsert by primary key: the CASE expressions that `bulk_update` builds cost ten times as much Python.
    """
    if rows:
        key = rows[0]._meta.pk
        assert key is not None
        manager = type(rows[0])._default_manager
        manager.bulk_create(rows, update_conflicts=True, unique_fields=[key.name], update_fields=list(fields))


@contextmanager
def snapshot() -> Iterator[None]:
    """Everything read inside is as of one moment; nobody is held up, nothing can be written."""
    if connection.vendor == "sqlite":
        with _sqlite_snapshot():
            yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def _sqlite_snapshot() -> Iterator[None]:
    """Not `atomic()`: our transactions begin IMMEDIATE, which would hold up every writer."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        cursor.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
            cursor.execute("PRAGMA query_only = OFF")
