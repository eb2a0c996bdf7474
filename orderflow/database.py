"""What Django's ORM leaves open about databases: a bulk update that is cheap, services whose keys collide, and a snapshot."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Model, QuerySet

TRIES = 10  # to insert what others insert at the same time

M = TypeVar("M", bound=Model)
P = ParamSpec("P")
R = TypeVar("R")


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=Identified)


def is_away(error: Exception) -> bool:
    """Does the database not answer, or not any more? By PostgreSQL's error codes (appendix A of its manual).

    08 connection, 53 out of resources, 57P server going down; a lost connection has no code. SQLite has only words.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    if connection.vendor == "sqlite":
        return "unable to open" in str(error)
    code = getattr(error.__cause__, "sqlstate", None)
    return code is None or code.startswith(("08", "53", "57P"))


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
    """Run a service in a transaction; and again, if somebody inserted a row with the same key at that very moment.

    The next time the service sees that row, and can say what it means: the same thing again, or another one in its place.
    With many rows that may happen several times. Two who insert several such rows would deadlock: services insert in the order
    of what can collide.
    """

    @wraps(service)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(TRIES - 1):
            try:
                with transaction.atomic():
                    return service(*args, **kwargs)
            except IntegrityError:
                pass
        with transaction.atomic():
            return service(*args, **kwargs)

    return run


def by_id(items: Iterable[Item], taken: Callable[[str], Exception]) -> dict[UUID, Item]:
    """Things to be made, by the ids their maker supplied. The same one may be named twice; another one raises `taken`."""
    distinct: dict[UUID, Item] = {}
    for item in items:
        if distinct.setdefault(item.id, item) != item:
            raise taken(f"id {item.id}")
    return distinct


def refuse_taken_references(references: Sequence[str], rows: QuerySet[Any], taken: Callable[[str], Exception]) -> None:
    """Raise `taken` for a reference that is named twice, or that one of the rows has."""
    count = Counter(references)
    count.update(rows.filter(reference__in=references).values_list("reference", flat=True))
    for reference, times in count.items():
        if times > 1:
            raise taken(f"reference {reference}")


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
