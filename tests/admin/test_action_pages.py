"""The pages of actions require a confirmation, a reason and a permission."""

from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from orderflow.messaging.models import QueuedMessage
from purchase.models import PurchaseOrder, PurchaseOrderHistoryEntry, Receipt
from sales.models import SalesOrder
from tests.admin.conftest import (
    CONFIRMATION,
    REASON,
    change_lines_form,
    confirm,
    confirm_bulk,
    create_purchase_order,
    list_url,
    log_entries,
    page_html,
    page_url,
    place,
    post,
    run_action,
    staff,
    statuses,
    two_deliverable_orders,
)
from tests.conftest import product

SALES_ACTIONS = ["cancel", "change_lines", "retry"]
PURCHASE_ACTIONS = ["cancel", "close_short", "reschedule"]

NOT_IN_LIST = (
    "Some selected rows are not in this list. Reload the list and select the rows again. "
    "No changes were made."
)


def every_action(
    order: SalesOrder, purchase_order: PurchaseOrder, *more_purchase_actions: str
) -> list[tuple[Model, str]]:
    return [
        *((order, name) for name in SALES_ACTIONS),
        *((purchase_order, name) for name in (*PURCHASE_ACTIONS, *more_purchase_actions)),
    ]


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("", "A reason is required"),
        ("  ", "A reason is required"),
        ("x" * 201, "at most 200"),
        ("a\0b", "Null"),
    ],
)
def test_rejects_missing_or_invalid_reason(superuser: Client, reason: str, error: str) -> None:
    order, purchase_order = place(chair=1), create_purchase_order()
    form = change_lines_form((product("chair"), 5)) | {"expected_at": "2031-05-06T07:30"}
    for row, name in every_action(order, purchase_order):
        assert error in confirm(superuser, name, row, **form, reason=reason)
    assert error in confirm_bulk(superuser, "cancel", [order], reason=reason)
    assert error in confirm_bulk(superuser, "close_short", [purchase_order], reason=reason)
    assert statuses([order]) == {"awaiting_stock_reservation"}
    assert not PurchaseOrderHistoryEntry.objects.exists()
    assert log_entries() == []


def test_unconfirmed_action_changes_nothing(superuser: Client) -> None:
    order, purchase_order = place(chair=1), create_purchase_order()
    for row, name in every_action(order, purchase_order, "receive_partially"):
        superuser.get(page_url(row, name), CONFIRMATION)
        superuser.post(page_url(row, name), {"reason": REASON})
    assert statuses([order]) == {"awaiting_stock_reservation"}
    assert not PurchaseOrderHistoryEntry.objects.exists()
    assert not Receipt.objects.exists()
    assert log_entries() == []


@pytest.mark.parametrize("name", [*SALES_ACTIONS, "unknown action"])
@pytest.mark.parametrize("row_id", [str(uuid4()), "no uuid", "%00", "9" * 40, "a/b"])
def test_action_on_unknown_row_redirects(superuser: Client, name: str, row_id: str) -> None:
    url = f"{list_url(SalesOrder)}{row_id}/{name}/"
    assert superuser.get(url).status_code == 302
    assert superuser.post(url, CONFIRMATION).status_code == 302


@pytest.mark.parametrize("row_id", [str(uuid4()), "no uuid", "a\0b", "9" * 40])
@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_rejects_bulk_action_if_one_id_is_unknown(
    superuser: Client, action: str, row_id: str
) -> None:
    order = two_deliverable_orders()[0]
    form = {"action": action, "_selected_action": [str(order.pk), row_id], **CONFIRMATION}
    assert NOT_IN_LIST in post(superuser, list_url(SalesOrder), form)
    assert statuses([order]) == {"deliverable"}
    assert log_entries() == []


@pytest.mark.parametrize("row_id", ["no id", "a\0b", "9" * 40, ""])
def test_rejects_bulk_action_on_invalid_id(superuser: Client, row_id: str) -> None:
    place(chair=1)
    for model, action in (
        (SalesOrder, "deliver"),
        (PurchaseOrder, "receive"),
        (QueuedMessage, "discard"),
    ):
        form = {"action": action, "_selected_action": [row_id], "reason": REASON}
        assert NOT_IN_LIST in post(superuser, list_url(model), form)
    assert log_entries() == []


def test_rejects_confirmation_without_csrf_token(db: None) -> None:
    order = two_deliverable_orders()[0]
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("olga"))
    assert client.post(page_url(order, "cancel"), CONFIRMATION).status_code == 403
    assert statuses([order]) == {"deliverable"}


# -- permissions ---------------------------------------------------------------------------------


def test_view_permission_offers_no_actions(db: None) -> None:
    vera = staff("vera")
    order, purchase_order = two_deliverable_orders()[0], create_purchase_order()
    for row, name in every_action(order, purchase_order, "receive_partially"):
        assert page_url(row, name) not in page_html(vera, row)
        assert vera.get(page_url(row, name)).status_code == 403
        assert vera.post(page_url(row, name), CONFIRMATION).status_code == 403
        run_action(vera, name, [row], **CONFIRMATION)
    assert statuses([order]) == {"deliverable"}
    assert PurchaseOrder.objects.get().status == "open"
    assert not LogEntry.objects.exists()


def test_permission_for_sales_orders_excludes_purchase_orders(db: None) -> None:
    carl = staff("carl", "change_salesorder")
    order, purchase_order = two_deliverable_orders()[0], create_purchase_order()
    assert "Cancelled 1 sales order." in confirm(carl, "cancel", order)
    assert carl.post(page_url(purchase_order, "cancel"), CONFIRMATION).status_code == 403
    assert log_entries() == [("carl", "WEB-1", f"Cancelled: {REASON}")]


def test_anonymous_action_redirects_to_login(client: Client, db: None) -> None:
    order = two_deliverable_orders()[0]
    url = page_url(order, "cancel")
    for response in (client.get(url), client.post(url, CONFIRMATION)):
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
    assert statuses([order]) == {"deliverable"}
