"""Helpers of the admin tests: users, URLs, form data, actions, and sample data."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    close_short,
    create_purchase_orders,
    receive_goods,
)
from purchase.services.external import ExternalReceiptDraft, receive_external
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, place_orders
from stock.contract import ShipReservation
from stock.services import Reversal, reverse_receipt
from tests.conftest import add_stock, drain_all, lines, product
from tests.saved_rows import create_once

Line = tuple[UUID | str, object]  # product and quantity as form values, valid or not

NO_CHANGES_NEEDED = "No changes were needed."
APPS = {"catalog", "messaging", "feed", "sales", "stock", "purchase"}
MODELS = sorted(
    (model for model in admin.site._registry if model._meta.app_label in APPS),
    key=lambda model: model._meta.label,
)

# -- users ---------------------------------------------------------------------------------------


@pytest.fixture
def superuser(db: None) -> Client:
    """A client of the superuser `olga`."""
    return client_of(User.objects.create_superuser("olga"))


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff(name: str, *permissions: str) -> Client:
    """Return a client of a staff user with every view permission and these permissions."""
    user = User.objects.create_user(name, is_staff=True)
    view = Permission.objects.filter(
        content_type__app_label__in=APPS, codename__startswith="view_"
    )
    more = Permission.objects.filter(codename__in=permissions)
    assert more.count() == len(permissions)
    user.user_permissions.set([*view, *more])
    return client_of(user)


# -- URLs and pages ------------------------------------------------------------------------------


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_url(row: Model, view: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}", args=[row.pk])


def add_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def page_html(client: Client, row: Model) -> str:
    return client.get(page_url(row)).content.decode()


def page_text(client: Client, row: Model) -> str:
    return text_of(page_html(client, row))


# -- data ----------------------------------------------------------------------------------------


@pytest.fixture
def sample_data(db: None) -> None:
    create_once(create_sample_data)


def create_sample_data() -> None:
    """Create rows in every table: delivered, purchased and backordered orders, a dead letter."""
    add_stock(chair=4)
    place(chair=2)
    place(table=3)
    drain_all()
    receive_all_open()
    drain_all()
    place(delivery_mode="manual", chair=1)
    backordered = place(chair=1, table=2)
    drain_all()
    receive(awaited_purchase_order(backordered), table=1)
    drain_all()
    create_dead_letter(backordered)
    close_short_after_reversal()
    report_external_receipt()


def place(
    *, delivery_mode: str = "automatic", reference: str = "", **quantities: int
) -> SalesOrder:
    draft = SalesOrderDraft(
        lines=lines(**quantities),
        delivery_mode=delivery_mode,
        reference=reference,
        customer="Ada",
    )
    return place_orders([draft], actor="olga")[0]


def two_deliverable_orders() -> list[SalesOrder]:
    """Return the orders WEB-1 and WEB-2 of 1 chair each, with 3 more chairs on hand."""
    create_once(create_two_deliverable_orders)
    return list(SalesOrder.objects.order_by("reference"))


def create_two_deliverable_orders() -> None:
    add_stock(chair=5)
    for reference in ("WEB-1", "WEB-2"):
        place(chair=1, delivery_mode="manual", reference=reference)
    drain_all()


def statuses(orders: Sequence[SalesOrder]) -> set[str]:
    return set(OrderStatus.objects.filter(order__in=orders).values_list("status", flat=True))


def awaited_purchase_order(order: SalesOrder) -> UUID:
    purchase_order_id = OrderStatus.objects.get(order=order).purchase_order_id
    assert purchase_order_id
    return purchase_order_id


def create_purchase_order(
    reference: str = "P-1", *, external: bool = False, **quantities: int
) -> PurchaseOrder:
    """Create a purchase order, by default of 4 tables."""
    ordered = [
        PeggedQuantity(product_id=product(sku), quantity=quantity)
        for sku, quantity in (quantities or {"table": 4}).items()
    ]
    draft = PurchaseOrderDraft(lines=ordered, reference=reference, external=external)
    return create_purchase_orders([draft])[0]


def receive(purchase_order_id: UUID, **quantities: int) -> None:
    """Receive these quantities, or everything outstanding if none are given."""
    received = lines(**quantities) if quantities else None
    draft = ReceiptDraft(purchase_order_id=purchase_order_id, lines=received)
    receive_goods([draft], actor="anna")


def receive_all_open() -> None:
    for order in PurchaseOrder.objects.open().filter(external=False):
        receive(order.id)


def create_dead_letter(order: SalesOrder) -> None:
    """Publish a command that cannot be handled: ship a reservation that is backordered."""
    with transaction.atomic():
        publish([OutgoingMessage(message=ShipReservation(reservation_id=order.id))])
    drain_all()


def close_short_after_reversal() -> None:
    """Receive 3 of 5 lamps, reverse 1, and close the purchase order short."""
    order = create_purchase_order("", lamp=5)
    receive(order.id, lamp=3)
    drain_all()
    reversal = Reversal(
        receipt_id=order.receipts.get().pk,
        product_id=product("lamp"),
        quantity=1,
        reason="miscounted",
    )
    reverse_receipt(reversal, actor="anna")
    close_short([order.id], actor="anna", reason="sold out")
    drain_all()


def report_external_receipt() -> None:
    """Report that 1 of 3 lamps of an external purchase order was received."""
    order = create_purchase_order("", external=True, lamp=3)
    draft = ExternalReceiptDraft(
        purchase_order_id=order.id, sequence_number=1, id=uuid4(), lines=lines(lamp=1), final=False
    )
    receive_external(draft, actor="relay")
    drain_all()


# -- form data -----------------------------------------------------------------------------------


def _lines_data(lines: Sequence[Line]) -> dict[str, Any]:
    data: dict[str, Any] = {"lines-TOTAL_FORMS": len(lines), "lines-INITIAL_FORMS": 0}
    for index, (product_id, quantity) in enumerate(lines):
        data |= {f"lines-{index}-product": product_id, f"lines-{index}-quantity": quantity}
    return data


def purchase_order_form(*lines: Line, **fields: object) -> dict[str, Any]:
    return {"new_id": uuid4(), "reference": "", **_lines_data(lines), **fields}


def sales_order_form(*lines: Line, **fields: object) -> dict[str, Any]:
    defaults = {"customer": "Ada", "priority": 0, "delivery_mode": "automatic"}
    return purchase_order_form(*lines, **{**defaults, **fields})


def adjustment_form(sku: str, quantity: object, **fields: object) -> dict[str, Any]:
    defaults = {"new_id": uuid4(), "product": product(sku), "reason": "counted"}
    return {**defaults, "quantity": quantity, **fields}


def change_lines_form(*lines: Line, revision: object = 1) -> dict[str, Any]:
    return {"revision": revision, **_lines_data(lines)}


# -- actions -------------------------------------------------------------------------------------

REASON = "The customer called"
CONFIRMATION = {"confirmed": "yes", "reason": REASON}


def post(client: Client, url: str, data: dict[str, Any]) -> str:
    """Post the form and return the text of the page that follows."""
    response = client.post(url, data, follow=True)
    assert response.status_code == 200
    return text_of(response.content.decode())


def run_action(client: Client, action: str, rows: Sequence[Model], **fields: str) -> str:
    """Run an action on these rows of a list; return the text of the page that follows."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields}
    return post(client, list_url(type(rows[0])), data)


def open_form(client: Client, name: str, row: Model) -> str:
    """Open the page of an action on one row; return its HTML."""
    response = client.get(page_url(row, name))
    assert response.status_code == 200
    return response.content.decode()


def confirm(client: Client, name: str, row: Model, **fields: object) -> str:
    """Confirm an action on one row; return the text of the page that follows."""
    return post(client, page_url(row, name), {**CONFIRMATION, **fields})


def confirm_bulk(client: Client, name: str, rows: Sequence[Model], **fields: str) -> str:
    """Confirm an action on selected rows; return the text of the page that follows."""
    return run_action(client, name, rows, **{**CONFIRMATION, **fields})


def log_entries() -> list[tuple[str, str, str]]:
    """Return user, object and text of each logged change."""
    entries = LogEntry.objects.filter(action_flag=CHANGE).order_by("id")
    return [
        (entry.user.get_username(), entry.object_repr, entry.change_message) for entry in entries
    ]
