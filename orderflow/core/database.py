"""Database helpers: upserts, unique violations, unavailability, snapshots."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Model, QuerySet

MAX_TRIES = 10  # of a service whose inserts collide with concurrent ones

M = TypeVar("M", bound=Model)
P = ParamSpec("P")
R = TypeVar("R")


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=Identified)


def is_unavailable(error: Exception) -> bool:
    """Return whether the error means that the database does not respond.

    By the PostgreSQL error codes 08 (connection), 53 (insufficient resources) and 57P (operator
    intervention); a lost connection has no code. SQLite has only messages.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    if connection.vendor == "sqlite":
        return "unable to open" in str(error)
    code = getattr(error.__cause__, "sqlstate", None)
    return code is None or code.startswith(("08", "53", "57P"))


def upsert(rows: Sequence[M], fields: Sequence[str]) -> None:
    """Insert these rows, or update `fields` of those that exist, by primary key, in bulk.

    Used for updates too: the CASE expressions of `bulk_update` cost ten times as much Python time.
    """
    if rows:
        key = rows[0]._meta.pk
        assert key is not None
        manager = type(rows[0])._default_manager
        manager.bulk_create(
            rows, update_conflicts=True, unique_fields=[key.name], update_fields=list(fields)
        )


def retry_on_unique_violation(service: Callable[P, R]) -> Callable[P, R]:
    """Run a service in a transaction; repeat it after an `IntegrityError`.

    The repeated run reads the row of the concurrent insert and handles the conflict. With many
    rows this can happen several times. Services insert in the order of the colliding keys, so that
    two of them cannot deadlock.
    """

    @wraps(service)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(MAX_TRIES - 1):
            try:
                with transaction.atomic():
                    return service(*args, **kwargs)
            except IntegrityError:
                pass
        with transaction.atomic():
            return service(*args, **kwargs)

    return run


def by_id(
    items: Iterable[Item], duplicate: Callable[[str, object], Exception]
) -> dict[UUID, Item]:
    """Return the items by id. Raises: `duplicate` if two different items have the same id."""
    distinct: dict[UUID, Item] = {}
    for item in items:
        if distinct.setdefault(item.id, item) != item:
            raise duplicate("id", item.id)
    return distinct


def check_references_unique(
    references: Sequence[str], rows: QuerySet[Any], duplicate: Callable[[str, object], Exception]
) -> None:
    """Raises: `duplicate` if a reference occurs twice, or in one of the rows."""
    count = Counter(references)
    count.update(rows.filter(reference__in=references).values_list("reference", flat=True))
    for reference, times in count.items():
        if times > 1:
            raise duplicate("reference", reference)


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything inside the block from one snapshot; writes are not possible."""
    if connection.vendor == "sqlite":
        with _sqlite_snapshot():
            yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def _sqlite_snapshot() -> Iterator[None]:
    """Without `atomic()`: transactions begin IMMEDIATE here, which would block every writer."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        cursor.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
            cursor.execute("PRAGMA query_only = OFF")
