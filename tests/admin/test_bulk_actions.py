"""Bulk actions call services: for all selected rows or none, with actor and permission."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client

from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from sales.models import SalesOrder
from tests.admin.conftest import (
    NO_CHANGES_NEEDED,
    create_dead_letter,
    create_two_deliverable_orders,
    list_url,
    log_entries,
    page_text,
    page_url,
    place,
    receive_all_open,
    run_action,
    staff,
    statuses,
    two_deliverable_orders,
)
from tests.conftest import drain_all
from tests.saved_rows import create_once

# -- deliver -------------------------------------------------------------------------------------


def test_selected_orders_are_delivered(superuser: Client) -> None:
    orders = two_deliverable_orders()
    assert "Delivered 2 sales orders." in run_action(superuser, "deliver", orders)
    assert statuses(orders) == {"delivered"}
    assert {order.order_status.changes.latest("id").actor for order in orders} == {"olga"}
    assert sorted(log_entries()) == [
        ("olga", "WEB-1", "Delivered."),
        ("olga", "WEB-2", "Delivered."),
    ]
    drain_all()


def test_rejects_delivery_if_one_order_awaits_goods(superuser: Client) -> None:
    orders = two_deliverable_orders()
    awaiting = place(table=1, delivery_mode="manual", reference="WEB-3")
    drain_all()
    assert (
        "Sales order WEB-3 cannot be delivered: its status is awaiting goods received. "
        "Wait until the goods on order are received."
    ) in run_action(superuser, "deliver", [*orders, awaiting])
    assert statuses(orders) == {"deliverable"}
    assert log_entries() == []


def test_repeated_delivery_changes_nothing(superuser: Client) -> None:
    orders = two_deliverable_orders()
    run_action(superuser, "deliver", orders)
    count = orders[0].order_status.changes.count()
    assert NO_CHANGES_NEEDED in run_action(superuser, "deliver", orders)
    assert orders[0].order_status.changes.count() == count


def test_select_across_delivers_every_filtered_order(superuser: Client) -> None:
    orders = two_deliverable_orders()
    place(table=1)
    drain_all()
    form = {"action": "deliver", "_selected_action": [str(orders[0].pk)], "select_across": "1"}
    superuser.post(f"{list_url(SalesOrder)}?order_status__status__exact=deliverable", form)
    assert statuses(orders) == {"delivered"}


# -- receive -------------------------------------------------------------------------------------


def test_selected_purchase_orders_are_received(superuser: Client) -> None:
    orders = [place(table=2), place(lamp=3)]
    drain_all()
    linked = list(PurchaseOrder.objects.order_by("id"))
    text = run_action(superuser, "receive", linked)
    assert "Received all outstanding goods of 2 purchase orders." in text
    drain_all()
    assert statuses(orders) == {"delivered"}
    assert set(Receipt.objects.values_list("actor", flat=True)) == {"olga"}
    assert [entry[0] for entry in log_entries()] == ["olga", "olga"]


def test_rejects_receipt_if_one_purchase_order_is_received(superuser: Client) -> None:
    place(table=2)
    drain_all()
    receive_all_open()
    place(lamp=3)
    drain_all()
    received = PurchaseOrder.objects.get(status="received")
    assert (
        f"Purchase order {received.reference} cannot be received: its status is received"
    ) in run_action(superuser, "receive", list(PurchaseOrder.objects.all()))
    assert PurchaseOrderLine.objects.get(product__sku="lamp").received == 0
    assert log_entries() == []


# -- dead letters --------------------------------------------------------------------------------


def dead_letter() -> QueuedMessage:
    create_once(_create_dead_letter)
    return QueuedMessage.objects.dead_letters().get()


def orders_and_dead_letter() -> tuple[list[SalesOrder], QueuedMessage]:
    """Return two deliverable orders, and the dead letter of a third order."""
    create_once(_create_orders_and_dead_letter)
    deliverable = SalesOrder.objects.filter(order_status__status="deliverable")
    return list(deliverable.order_by("reference")), QueuedMessage.objects.dead_letters().get()


def _create_orders_and_dead_letter() -> None:
    create_two_deliverable_orders()
    _create_dead_letter()


def _create_dead_letter() -> None:
    order = place(table=1, reference="WEB-9")
    drain_all()
    create_dead_letter(order)


def test_replayed_dead_letter_is_handled_after_its_cause_is_fixed(superuser: Client) -> None:
    dead = dead_letter()
    run_action(superuser, "receive", [PurchaseOrder.objects.get()])
    drain_all()
    text = run_action(superuser, "replay", [dead], reason="The goods were received")
    assert "Replayed 1 queued message." in text
    drain_all()
    assert not QueuedMessage.objects.filter(pk=dead.pk).exists()
    assert log_entries()[-1] == ("olga", str(dead), "Replayed: The goods were received")


def test_dead_letter_that_fails_again_shows_its_replay(superuser: Client) -> None:
    dead = dead_letter()
    run_action(superuser, "replay", [dead], reason="A test")
    drain_all()
    text = page_text(superuser, dead)
    assert "Replayed by olga" in text
    assert "A test" in text
    assert "Status: Dead letter" in text


def test_dead_letter_is_discarded(superuser: Client) -> None:
    dead = dead_letter()
    text = run_action(superuser, "discard", [dead], reason="Published by mistake")
    assert "Discarded 1 queued message." in text
    dead.refresh_from_db()
    assert dead.status == QueuedMessageStatus.DISCARDED
    assert "Discarded by olga" in dead.resolution_log


def test_discarded_message_can_be_replayed(superuser: Client) -> None:
    dead = dead_letter()
    run_action(superuser, "discard", [dead], reason="Published by mistake")
    assert NO_CHANGES_NEEDED in run_action(superuser, "discard", [dead], reason="Again")
    text = run_action(superuser, "replay", [dead], reason="It is needed")
    assert "Replayed 1 queued message." in text
    dead.refresh_from_db()
    assert dead.status == QueuedMessageStatus.PENDING
    assert [entry[2] for entry in log_entries()] == [
        "Discarded: Published by mistake",
        "Replayed: It is needed",
    ]


@pytest.mark.parametrize("action", ["replay", "discard"])
@pytest.mark.parametrize("reason", ["", "   "])
def test_rejects_resolution_without_reason(superuser: Client, action: str, reason: str) -> None:
    dead = dead_letter()
    assert "A reason is required" in run_action(superuser, action, [dead], reason=reason)
    dead.refresh_from_db()
    assert (dead.status, dead.resolution_log) == (QueuedMessageStatus.DEAD_LETTER, "")
    assert log_entries() == []


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_pending_message_is_not_resolved(superuser: Client, action: str) -> None:
    place(table=1)
    pending = QueuedMessage.objects.latest("id")
    assert NO_CHANGES_NEEDED in run_action(superuser, action, [pending], reason="A test")
    pending.refresh_from_db()
    assert pending.status == QueuedMessageStatus.PENDING
    assert log_entries() == []


# -- permissions ---------------------------------------------------------------------------------


def test_view_permission_offers_and_runs_no_actions(db: None) -> None:
    vera = staff("vera")
    orders, dead = orders_and_dead_letter()
    for rows, actions in (
        (orders, ["deliver"]),
        ([PurchaseOrder.objects.get()], ["receive"]),
        ([dead], ["replay", "discard"]),
    ):
        assert 'name="action"' not in vera.get(list_url(type(rows[0]))).content.decode()
        for action in actions:
            run_action(vera, action, rows, reason="A test")
    dead.refresh_from_db()
    assert dead.status == QueuedMessageStatus.DEAD_LETTER
    assert statuses(orders) == {"deliverable"}
    assert not Receipt.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("model", "permission", "action"),
    [
        (SalesOrder, "deliver_salesorder", "deliver"),
        (PurchaseOrder, "receive_purchaseorder", "receive"),
        (QueuedMessage, "change_queuedmessage", "replay"),
    ],
)
def test_action_permission_does_not_allow_editing(
    db: None, model: type[Model], permission: str, action: str
) -> None:
    carl = staff("carl", permission)
    orders, dead = orders_and_dead_letter()
    rows = [orders[0], PurchaseOrder.objects.get(), dead]
    [row] = [each for each in rows if type(each) is model]
    run_action(carl, action, [row], reason="A test")
    assert [entry[0] for entry in log_entries()] == ["carl"]
    assert carl.post(page_url(row), {}).status_code == 403
