"""Who looks at the admin, and a small trading company to look at."""

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

from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import Arrival, NewPurchaseOrder, close_short, create_purchase_orders, receive_goods
from purchase.services.elsewhere import RemoteReport, take_remote_receipt
from sales.models import OrderStatus, SalesOrder
from sales.services import NewOrder, place_orders
from stock.contract import ShipReservation
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.conftest import lines, product, settle

Line = tuple[UUID | str, object]  # a product and a quantity, as somebody gives them

NOTHING_TO_DO = "Nothing was to be done: it was so before."
OUR_APPS = {"catalog", "messaging", "feed", "sales", "stock", "purchase"}
OUR_MODELS = sorted(
    (model for model in admin.site._registry if model._meta.app_label in OUR_APPS), key=lambda model: model._meta.label
)


@pytest.fixture
def owner(db: None) -> Client:
    """Logged in as a superuser called olga."""
    return client_of(User.objects.create_superuser("olga"))


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff(name: str, *permissions: str) -> Client:
    """Logged in as a member of staff who may see everything of ours and, beyond that, has these permissions."""
    user = User.objects.create_user(name, is_staff=True)
    seeing = Permission.objects.filter(content_type__app_label__in=OUR_APPS, codename__startswith="view_")
    more = Permission.objects.filter(codename__in=permissions)
    assert more.count() == len(permissions)
    user.user_permissions.set([*seeing, *more])
    return client_of(user)


# -- where things are -----------------------------------------------------------------------------------------------------


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_url(row: Model, view: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}", args=[row.pk])


def add_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# -- what happens ---------------------------------------------------------------------------------------------------------


def on_the_shelf(**quantities: int) -> None:
    found = [Adjustment(product_id=product(sku), quantity=quantity, reason="found") for sku, quantity in quantities.items()]
    adjust_stock(found, by="olga")


def place(*, delivery: str = "automatic", reference: str = "", **quantities: int) -> SalesOrder:
    order = NewOrder(lines=lines(**quantities), delivery=delivery, reference=reference, customer="Ada")
    return place_orders([order], by="olga")[0]


def receive_everything_open() -> None:
    receive_goods(
        [Arrival(purchase_order_id=order.id) for order in PurchaseOrder.objects.open().filter(elsewhere=False)], by="anna"
    )


def dead_letter_about(order: SalesOrder) -> None:
    """Somebody wants the goods of an order shipped that have not arrived: it cannot be done."""
    with transaction.atomic():
        publish([Outgoing(message=ShipReservation(reservation_id=order.id))])
    settle()


def business(turns: int) -> None:
    """Each turn leaves rows in every table: something delivered, something bought, something that waits, a dead letter."""
    for _ in range(turns):
        on_the_shelf(chair=4)
        place(chair=2)
        place(table=3)
        settle()
        receive_everything_open()
        settle()
        place(delivery="manual", chair=1)
        waiting = place(chair=1, table=2)
        settle()
        receive_goods([Arrival(purchase_order_id=purchase_of(waiting), lines=lines(table=1))], by="anna")
        settle()
        dead_letter_about(waiting)
        closed_short_after_a_reversal()
        told_of_by_another_system()


def closed_short_after_a_reversal() -> None:
    """Of five lamps that nobody waits for two came, three were counted, and the rest will not come."""
    lamps = PeggedQuantity(product_id=product("lamp"), quantity=5)
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[lamps])])
    [receipt] = receive_goods([Arrival(purchase_order_id=order.id, lines=lines(lamp=3))], by="anna")
    settle()
    reverse_receipt(Reversal(receipt_id=receipt.id, product_id=lamps.product_id, quantity=1, reason="miscounted"), by="anna")
    close_short([order.id], by="anna", reason="sold out")
    settle()


def told_of_by_another_system() -> None:
    """Of three lamps one has arrived where the purchase order is kept."""
    lamps = PeggedQuantity(product_id=product("lamp"), quantity=3)
    [order] = create_purchase_orders([NewPurchaseOrder(lines=[lamps], elsewhere=True)])
    report = RemoteReport(purchase_order_id=order.id, number=1, id=uuid4(), lines=lines(lamp=1), complete=False)
    take_remote_receipt(report, by="relay")
    settle()


def purchase_of(order: SalesOrder) -> UUID:
    waited_for = OrderStatus.objects.get(order=order).purchase_order_id
    assert waited_for
    return waited_for


def two_deliverable_orders() -> list[SalesOrder]:
    on_the_shelf(chair=5)
    orders = [place(chair=1, delivery="manual", reference=reference) for reference in ("WEB-1", "WEB-2")]
    settle()
    return orders


def ordered_table(quantity: int = 4, reference: str = "P-1") -> PurchaseOrder:
    line = PeggedQuantity(product_id=product("table"), quantity=quantity)
    return create_purchase_orders([NewPurchaseOrder(lines=[line], reference=reference)])[0]


def states(orders: Sequence[SalesOrder]) -> set[str]:
    return set(OrderStatus.objects.filter(order__in=orders).values_list("state", flat=True))


# -- what a browser sends ---------------------------------------------------------------------------------------------------


def order_form(*lines: Line, new_id: UUID | None = None, **fields: object) -> dict[str, Any]:
    form = {"new_id": new_id or uuid4(), "reference": "", "lines-TOTAL_FORMS": len(lines), "lines-INITIAL_FORMS": 0, **fields}
    for number, (product_id, quantity) in enumerate(lines):
        form |= {f"lines-{number}-product": product_id, f"lines-{number}-quantity": quantity}
    return form


def sales_order(*lines: Line, **fields: object) -> dict[str, Any]:
    return order_form(*lines, **{"customer": "Ada", "priority": 0, "delivery": "automatic", **fields})  # type: ignore[arg-type]


def adjustment(sku: str, quantity: object, reason: str = "counted", **fields: object) -> dict[str, Any]:
    return {"new_id": uuid4(), "product": product(sku), "quantity": quantity, "reason": reason, **fields}


# -- actions, and pages that ask ---------------------------------------------------------------------------------------------

WHY = "The customer called"


def act(client: Client, action: str, rows: Sequence[Model], **more: str) -> str:
    """Choose these rows in their list and run an action; returns what the next page says."""
    form = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    response = client.post(list_url(type(rows[0])), form, follow=True)
    assert response.status_code == 200
    return text_of(response.content.decode())


def ask(client: Client, name: str, row: Model) -> str:
    """Open the page that asks this about a row."""
    response = client.get(page_url(row, name))
    assert response.status_code == 200
    return response.content.decode()


def answer(client: Client, name: str, row: Model, **given: object) -> str:
    """Send what the page asks for; returns what the next page says."""
    response = client.post(page_url(row, name), {"answered": "yes", "reason": WHY, **given}, follow=True)
    assert response.status_code == 200
    return text_of(response.content.decode())


def answer_about(client: Client, name: str, rows: Sequence[Model], **given: str) -> str:
    """Send what the page asks for about several rows, which were chosen in their list."""
    return act(client, name, rows, answered="yes", **{"reason": WHY, **given})


def new_lines(*lines: Line, revision: object = 1) -> dict[str, Any]:
    form: dict[str, Any] = {"revision": revision, "lines-TOTAL_FORMS": len(lines), "lines-INITIAL_FORMS": 0}
    for number, (product_id, quantity) in enumerate(lines):
        form |= {f"lines-{number}-product": product_id, f"lines-{number}-quantity": quantity}
    return form


def the_log() -> list[tuple[str, str, str]]:
    entries = LogEntry.objects.filter(action_flag=CHANGE).order_by("id")
    return [(entry.user.get_username(), entry.object_repr, entry.change_message) for entry in entries]


# -- deliver --------------------------------------------------------------------------------------------------------------
