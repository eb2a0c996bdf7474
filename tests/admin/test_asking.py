"""Pages that ask want a reason, do nothing before it is given, and ask only who may act."""

from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from orderflow.messaging.models import Delivery
from purchase.models import PurchaseOrder, PurchaseOrderChange, Receipt
from sales.models import SalesOrder
from tests.admin.conftest import (
    WHY,
    act,
    answer,
    answer_about,
    list_url,
    new_lines,
    ordered_table,
    page_url,
    place,
    staff,
    states,
    text_of,
    the_log,
    two_deliverable_orders,
)
from tests.conftest import product

ABOUT_SALES = ["cancel", "change_lines", "try_again"]
ABOUT_PURCHASES = ["cancel", "close_short", "expect"]


@pytest.mark.parametrize(("reason", "why"), [("", "Say why"), ("  ", "Say why"), ("x" * 201, "at most 200"), ("a\0b", "Null")])
def test_it_rejects_what_is_no_reason(owner: Client, reason: str, why: str) -> None:
    order, purchase = place(chair=1), ordered_table()
    for row, name in [*((order, name) for name in ABOUT_SALES), *((purchase, name) for name in ABOUT_PURCHASES)]:
        form = new_lines((product("chair"), 5)) | {"expected_at": "2031-05-06T07:30"}
        assert why in answer(owner, name, row, **form, reason=reason)
    assert why in answer_about(owner, "cancel", [order], reason=reason)
    assert why in answer_about(owner, "close_short", [purchase], reason=reason)
    assert states([order]) == {"awaiting_stock_reservation"}
    assert not PurchaseOrderChange.objects.exists()
    assert the_log() == []


def test_looking_at_a_question_changes_nothing(owner: Client) -> None:
    order, purchase = place(chair=1), ordered_table()
    for row, name in [
        *((order, name) for name in ABOUT_SALES),
        *((purchase, name) for name in [*ABOUT_PURCHASES, "receive_part"]),
    ]:
        owner.get(page_url(row, name), {"answered": "yes", "reason": WHY})
        owner.post(page_url(row, name), {"reason": WHY})
    assert states([order]) == {"awaiting_stock_reservation"}
    assert not PurchaseOrderChange.objects.exists()
    assert not Receipt.objects.exists()
    assert the_log() == []


@pytest.mark.parametrize("name", [*ABOUT_SALES, "no such question"])
@pytest.mark.parametrize("what", [str(uuid4()), "no uuid", "%00", "9" * 40, "a/b"])
def test_a_question_about_what_does_not_exist_leads_back(owner: Client, name: str, what: str) -> None:
    for response in (
        owner.get(f"{list_url(SalesOrder)}{what}/{name}/"),
        owner.post(f"{list_url(SalesOrder)}{what}/{name}/", {"answered": "yes", "reason": WHY}),
    ):
        assert response.status_code == 302


@pytest.mark.parametrize("what", [str(uuid4()), "no uuid", "a\0b", "9" * 40])
@pytest.mark.parametrize("action", ["cancel", "try_again"])
def test_one_chosen_id_that_is_none_keeps_all_that_were_chosen(owner: Client, action: str, what: str) -> None:
    order = two_deliverable_orders()[0]
    form = {"action": action, "_selected_action": [str(order.pk), what], "answered": "yes", "reason": WHY}
    assert "Nothing was done" in text_of(owner.post(list_url(SalesOrder), form, follow=True).content.decode())
    assert states([order]) == {"deliverable"}
    assert the_log() == []


@pytest.mark.parametrize("what", ["no id", "a\0b", "9" * 40, ""])
def test_an_action_about_what_cannot_exist_does_nothing(owner: Client, what: str) -> None:
    place(chair=1)
    for model, action in ((SalesOrder, "deliver"), (PurchaseOrder, "receive"), (Delivery, "discard")):
        form = {"action": action, "_selected_action": [what], "reason": WHY}
        assert "Nothing was done" in text_of(owner.post(list_url(model), form, follow=True).content.decode())
    assert the_log() == []


def test_an_answer_from_another_site_is_not_taken(db: None) -> None:
    order = two_deliverable_orders()[0]
    elsewhere = Client(enforce_csrf_checks=True)
    elsewhere.force_login(User.objects.create_superuser("olga"))
    assert elsewhere.post(page_url(order, "cancel"), {"answered": "yes", "reason": WHY}).status_code == 403
    assert states([order]) == {"deliverable"}


# -- who may answer --------------------------------------------------------------------------------------------------------


def test_who_may_only_look_is_asked_nothing(db: None) -> None:
    vera = staff("vera")
    order, purchase = two_deliverable_orders()[0], ordered_table()
    for row, names in ((order, ABOUT_SALES), (purchase, [*ABOUT_PURCHASES, "receive_part"])):
        page = vera.get(page_url(row)).content.decode()
        for name in names:
            assert page_url(row, name) not in page
            assert vera.get(page_url(row, name)).status_code == 403
            assert vera.post(page_url(row, name), {"answered": "yes", "reason": WHY}).status_code == 403
            act(vera, name, [row], answered="yes", reason=WHY)
    assert states([order]) == {"deliverable"}
    assert PurchaseOrder.objects.get().status == "open"
    assert not LogEntry.objects.exists()


def test_who_may_change_sales_orders_may_cancel_them_and_no_purchase_orders(db: None) -> None:
    carl = staff("carl", "change_salesorder")
    order, purchase = two_deliverable_orders()[0], ordered_table()
    assert "Cancelled 1 sales order." in answer(carl, "cancel", order)
    assert carl.post(page_url(purchase, "cancel"), {"answered": "yes", "reason": WHY}).status_code == 403
    assert the_log() == [("carl", "WEB-1", f"Cancelled: {WHY}")]


def test_nobody_from_outside_is_asked_anything(client: Client, db: None) -> None:
    order = two_deliverable_orders()[0]
    for response in (
        client.get(page_url(order, "cancel")),
        client.post(page_url(order, "cancel"), {"answered": "yes", "reason": WHY}),
    ):
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
    assert states([order]) == {"deliverable"}
