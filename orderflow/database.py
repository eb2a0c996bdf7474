"""What Django's ORM leaves open about databases: a bulk update that is cheap, services whose keys collide, and a snapshot."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import IntegrityError, connection, transaction
from django.db.models import Model

M = TypeVar("M", bound=Model)
P = ParamSpec("P")
R = TypeVar("R")


def save_rows(rows: Sequence[M], fields: Sequence[str]) -> None:
    """Insert these rows, or update `fields` of those that exist, in one statement for each thousand or so.

    An upsert by primary key: the CASE expressions that `bulk_update` builds cost ten times as much Python.
    """
    if rows:
        key = rows[0]._meta.pk
        assert key is not None
        manager = type(rows[0])._default_manager
        manager.bulk_create(rows, update_conflicts=True, unique_fields=[key.name], update_fields=list(fields))


def once_more_if_taken(service: Callable[P, R]) -> Callable[P, R]:
    """Run a service in a transaction; and once more, if somebody inserted a row with the same key at that very moment.

    The second time the service sees that row, and can say what it means: the same thing again, or another one in its place.
    Two who insert several such rows would deadlock: services insert in the order of what can collide.
    """

    @wraps(service)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with transaction.atomic():
                return service(*args, **kwargs)
        except IntegrityError:
            with transaction.atomic():
                return service(*args, **kwargs)

    return run


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
