"""Shared helpers: products, stock, orders, and draining every consumer in the test process."""

import os
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from orderflow.catalog.services import create_products, product_ids
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging import consuming, wakeups
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage
from orderflow.messaging.subscriptions import subscriptions
from stock.services import Adjustment, adjust_stock

FILLED_BY_MIGRATE = {
    model._meta.db_table for model in (ContentType, Permission, Group, Group.permissions.through)
}


@pytest.fixture(autouse=True, scope="session")
def delete_rows_between_tests() -> Iterator[None]:
    """After a test with real commits, delete the rows.

    Django's `flush` recreates the files of every table, and what `migrate` fills, which is slower.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _delete_all_rows)
        yield


@pytest.fixture(autouse=True, scope="session")
def find_static_files_on_request() -> Iterator[None]:
    """Find static files when they are requested, not all of them for each test client."""
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield


def _delete_all_rows(case: TransactionTestCase) -> None:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    statements = [
        f"DELETE FROM {connection.ops.quote_name(table)}"
        for table in sorted(set(names) - FILLED_BY_MIGRATE)
    ]
    if connection.vendor == "postgresql":
        statements = ["; ".join(statements)]  # one request
    with (
        connection.constraint_checks_disabled(),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(autouse=True)
def no_background_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no wake-ups, which a later test's worker would receive; do not pause for writers."""
    monkeypatch.setattr(wakeups, "_skip_broker_until", float("inf"))
    monkeypatch.setattr(consuming, "sleep", lambda seconds: None)


def product(sku: str) -> UUID:
    """Return the id of the product with this SKU; create it if it does not exist."""
    create_products({sku: sku.title()})
    return product_ids([sku])[sku]


def lines(**quantities: int) -> list[ProductQuantity]:
    """Return lines by SKU: `lines(chair=2)` is 2 of the product with the SKU chair."""
    return [
        ProductQuantity(product_id=product(sku), quantity=quantity)
        for sku, quantity in quantities.items()
    ]


def add_stock(**quantities: int) -> None:
    """Adjust stock by SKU: `add_stock(chair=2)` adds 2 of the product with the SKU chair."""
    adjustments = [
        Adjustment(product_id=product(sku), quantity=quantity, reason="opening stock")
        for sku, quantity in quantities.items()
    ]
    adjust_stock(adjustments, actor="Ada")


def drain_all() -> None:
    """Drain every consumer until no message is due. Scheduled messages that are not due stay."""
    while sum(drain(consumer) for consumer in _consumers_with_due_messages()):
        pass


def _consumers_with_due_messages() -> list[str]:
    due = QueuedMessage.objects.pending().filter(due_at__lte=timezone.now())
    names = set(due.values_list("consumer", flat=True).distinct())
    return [each.consumer for each in subscriptions() if each.consumer in names]


def database_environment() -> dict[str, str]:
    """Return the variables with which another process finds the test database."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return {"DATABASE_URL": f"sqlite:///{name}"}
    return {"DATABASE_URL": os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"}
