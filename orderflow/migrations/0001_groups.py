"""The groups of people who work with Orderflow, with exactly the permissions that their work needs."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

CATALOG = ["catalog.view_product"]
SHELVES = [f"stock.view_{model}" for model in ("balance", "reservation", "reservationline")]
LEDGER = [f"stock.view_{model}" for model in ("stockmovement", "stockadjustment", "receiptreversal")]
SALES_ORDERS = [
    f"sales.view_{model}"
    for model in ("salesorder", "salesorderline", "orderstatus", "orderstatuschange", "orderpurchase", "orderpurchaseline")
]
PURCHASE_ORDERS = [
    f"purchase.view_{model}"
    for model in (
        "purchaseorder",
        "purchaseorderline",
        "purchaseorderchange",
        "receipt",
        "receiptline",
        "remotereceipt",
        "remotereceiptline",
    )
]
MESSAGES = ["messaging.view_storedmessage", "messaging.view_delivery", "messaging.view_consumer", "feed.view_feedentry"]

GROUPS = {
    "sales": [*CATALOG, *SHELVES, *SALES_ORDERS, "sales.add_salesorder", "sales.change_salesorder"],
    "warehouse": [
        *CATALOG,
        *SHELVES,
        *LEDGER,
        *SALES_ORDERS,
        *PURCHASE_ORDERS,
        "stock.add_stockadjustment",
        "stock.add_receiptreversal",
        "purchase.receive_purchaseorder",
        "sales.deliver_salesorder",
    ],
    "purchasing": [
        *CATALOG,
        *SHELVES,
        *PURCHASE_ORDERS,
        "catalog.add_product",
        "purchase.add_purchaseorder",
        "purchase.change_purchaseorder",
    ],
    "auditor": [*CATALOG, *SHELVES, *LEDGER, *SALES_ORDERS, *PURCHASE_ORDERS, *MESSAGES],
}


def create_groups(apps, schema_editor):
    """Add what is missing: a group that somebody made before keeps what it may."""
    _create_the_permissions_that_django_creates_only_after_all_migrations(apps)
    permissions = apps.get_model("auth", "Permission").objects.select_related("content_type")
    by_name = {f"{each.content_type.app_label}.{each.codename}": each for each in permissions}
    for name, needed in GROUPS.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*(by_name[each] for each in needed))


def _create_the_permissions_that_django_creates_only_after_all_migrations(apps):
    for config in apps.get_app_configs():
        before = getattr(config, "models_module", None)
        config.models_module = True  # else nothing is created: historical apps have no such module
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = before


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("catalog", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("feed", "0001_initial"),
        ("messaging", "0001_initial"),
        ("purchase", "0001_initial"),
        ("sales", "0001_initial"),
        ("stock", "0001_initial"),
    ]

    operations = [migrations.RunPython(create_groups, migrations.RunPython.noop)]
