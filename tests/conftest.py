"""What most tests need: products, goods on the shelf, orders, and everything handled in this process without a worker."""

import os
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings

from orderflow.catalog.quantities import ProductQuantity
from orderflow.catalog.services import create_products, product_ids
from orderflow.messaging import consuming, waking
from orderflow.messaging.consuming import drain
from orderflow.messaging.subscriptions import subscriptions

MADE_BY_MIGRATE = {model._meta.db_table for model in (ContentType, Permission, Group, Group.permissions.through)}


@pytest.fixture(autouse=True, scope="session")
def tables_are_emptied_row_by_row() -> Iterator[None]:
    """After a test with transactions of its own. Django's `flush` makes every table's files, and what `migrate` fills, anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_the_tables)
        yield


@pytest.fixture(autouse=True, scope="session")
def static_files_are_looked_for_when_somebody_asks() -> Iterator[None]:
    """Not all of them at the first request of each test's client."""
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield


def _empty_the_tables(case: TransactionTestCase) -> None:
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - MADE_BY_MIGRATE
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        for table in sorted(tables):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture(autouse=True)
def without_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests without a worker ring no alarm, which a later test's worker would hear; and nobody has to be let to write."""
    monkeypatch.setattr(waking, "_silent_until", float("inf"))
    monkeypatch.setattr(consuming, "sleep", lambda seconds: None)


def product(sku: str) -> UUID:
    """The product with this SKU; made when it is first named."""
    create_products({sku: sku.title()})
    return product_ids([sku])[sku]


def lines(**quantities: int) -> list[ProductQuantity]:
    """`lines(chair=2)`: two of the product with the SKU chair."""
    return [ProductQuantity(product_id=product(sku), quantity=quantity) for sku, quantity in quantities.items()]


def settle() -> None:
    """Let everybody take what there is to take, until nobody has anything. Timers that are not due stay."""
    while sum(drain(subscription.consumer) for subscription in subscriptions()):
        pass


def database_environment() -> dict[str, str]:
    """What another process needs to find the tests' database; where the broker is stands in the environment already."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return {"DATABASE_URL": f"sqlite:///{name}"}
    return {"DATABASE_URL": os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"}
