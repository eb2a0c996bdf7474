"""Create the groups: one for each role, with the permissions that its work needs."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

CATALOG = ["catalog.view_product"]
STOCK = [f"stock.view_{model}" for model in ("stocklevel", "reservation", "reservationline")]
LEDGER = [
    f"stock.view_{model}" for model in ("stockmovement", "stockadjustment", "receiptreversal")
]
SALES_ORDERS = [
    f"sales.view_{model}"
    for model in (
        "salesorder",
        "salesorderline",
        "orderstatus",
        "orderstatuschange",
        "linkedpurchaseorder",
        "linkedpurchaseorderline",
    )
]
PURCHASE_ORDERS = [
    f"purchase.view_{model}"
    for model in (
        "purchaseorder",
        "purchaseorderline",
        "purchaseorderhistoryentry",
        "receipt",
        "receiptline",
        "externalreceipt",
        "externalreceiptline",
    )
]
MESSAGES = [
    "messaging.view_storedmessage",
    "messaging.view_queuedmessage",
    "messaging.view_consumer",
    "feed.view_feedentry",
]

GROUPS = {
    "sales": [
        *CATALOG,
        *STOCK,
        *SALES_ORDERS,
        "sales.add_salesorder",
        "sales.change_salesorder",
    ],
    "warehouse": [
        *CATALOG,
        *STOCK,
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
        *STOCK,
        *PURCHASE_ORDERS,
        "catalog.add_product",
        "purchase.add_purchaseorder",
        "purchase.change_purchaseorder",
    ],
    "audit": [*CATALOG, *STOCK, *LEDGER, *SALES_ORDERS, *PURCHASE_ORDERS, *MESSAGES],
}


def create_groups(apps, schema_editor):
    """Add missing groups and permissions; an existing group keeps its other permissions."""
    _create_all_permissions(apps)
    permissions = apps.get_model("auth", "Permission").objects.select_related("content_type")
    by_name = {f"{each.content_type.app_label}.{each.codename}": each for each in permissions}
    for name, required in GROUPS.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*(by_name[each] for each in required))


def _create_all_permissions(apps):
    """Create the permissions now; Django creates them only after the last migration."""
    for config in apps.get_app_configs():
        before = getattr(config, "models_module", None)
        # Historical apps have no models module, and nothing is created without one.
        config.models_module = True
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
