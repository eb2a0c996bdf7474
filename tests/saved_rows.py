"""Create the rows of a fixture once; later tests insert copies of these rows."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Model

from orderflow.catalog.models import Product
from orderflow.messaging.models import StoredMessage

APPS = ("catalog", "messaging", "feed", "sales", "stock", "purchase")

T = TypeVar("T")
_saved: dict[Callable[[], Any], tuple[Any, dict[str, list[tuple[Any, ...]]]]] = {}


def create_once(create: Callable[[], T]) -> T:
    """Call `create`, or insert the rows that its first call created; return its result.

    The tables of Orderflow must be empty. The result must not contain model instances.
    """
    assert not any(model._default_manager.exists() for model in (Product, StoredMessage))
    if create not in _saved:
        result = create()
        _saved[create] = result, {table: _rows(table) for table in _tables()}
        return result
    result, tables = _saved[create]
    with transaction.atomic(), connection.cursor() as cursor:
        for table, rows in tables.items():
            if rows:
                values = ", ".join(["%s"] * len(rows[0]))
                cursor.executemany(f"INSERT INTO {table} VALUES ({values})", rows)
        for statement in connection.ops.sequence_reset_sql(no_style(), _models()):
            cursor.execute(statement)
    return result


def _models() -> list[type[Model]]:
    return [model for app in APPS for model in apps.get_app_config(app).get_models()]


def _tables() -> list[str]:
    return sorted({model._meta.db_table for model in _models()})


def _rows(table: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return list(cursor.fetchall())
