"""The actions call services: all of what was chosen or nothing, with the name of who did it, and only for who may."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client

from orderflow.messaging.models import Delivery, DeliveryState
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from sales.models import OrderStatus, SalesOrder
from tests.admin.conftest import (
    NOTHING_TO_DO,
    act,
    dead_letter_about,
    list_url,
    page_url,
    place,
    receive_everything_open,
    staff,
    states,
    text_of,
    the_log,
    two_deliverable_orders,
)
from tests.conftest import settle


def test_chosen_orders_are_delivered(owner: Client) -> None:
    orders = two_deliverable_orders()
    assert "Delivered 2 sales orders." in act(owner, "deliver", orders)
    assert states(orders) == {"delivered"}
    assert {order.status.changes.latest("id").by for order in orders} == {"olga"}
    assert sorted(the_log()) == [("olga", "WEB-1", "Delivered."), ("olga", "WEB-2", "Delivered.")]
    settle()


def test_one_order_that_cannot_be_delivered_keeps_all_that_were_chosen(owner: Client) -> None:
    orders = two_deliverable_orders()
    waiting = place(table=1, delivery="manual", reference="WEB-3")
    settle()
    said = act(owner, "deliver", [*orders, waiting])
    assert "Sales order WEB-3 cannot be delivered yet: it waits for goods that are on order." in said
    assert states(orders) == {"deliverable"}
    assert the_log() == []


def test_delivering_again_changes_nothing(owner: Client) -> None:
    orders = two_deliverable_orders()
    act(owner, "deliver", orders)
    changes = OrderStatus.objects.get(order=orders[0]).changes.count()
    assert NOTHING_TO_DO in act(owner, "deliver", orders)
    assert OrderStatus.objects.get(order=orders[0]).changes.count() == changes


def test_everything_that_a_filter_shows_can_be_delivered_at_once(owner: Client) -> None:
    orders = two_deliverable_orders()
    place(table=1)
    settle()
    form = {"action": "deliver", "_selected_action": [str(orders[0].pk)], "select_across": "1"}
    owner.post(f"{list_url(SalesOrder)}?status__state__exact=deliverable", form)
    assert states(orders) == {"delivered"}


# -- receive --------------------------------------------------------------------------------------------------------------


def test_all_that_is_outstanding_of_chosen_purchase_orders_is_received(owner: Client) -> None:
    waiting = [place(table=2), place(lamp=3)]
    settle()
    bought = list(PurchaseOrder.objects.order_by("id"))
    assert "Received all of 2 purchase orders." in act(owner, "receive", bought)
    settle()
    assert states(waiting) == {"delivered"}
    assert set(Receipt.objects.values_list("by", flat=True)) == {"olga"}
    assert [entry[0] for entry in the_log()] == ["olga", "olga"]


def test_a_purchase_order_that_is_complete_keeps_all_that_were_chosen(owner: Client) -> None:
    place(table=2)
    settle()
    receive_everything_open()
    place(lamp=3)
    settle()
    complete = PurchaseOrder.objects.get(status="received")
    said = act(owner, "receive", list(PurchaseOrder.objects.all()))
    assert f"Purchase order {complete.reference} is complete: nothing of it is still to come." in said
    assert PurchaseOrderLine.objects.get(product__sku="lamp").received == 0
    assert the_log() == []


# -- dead letters ---------------------------------------------------------------------------------------------------------


def a_dead_letter() -> Delivery:
    waiting = place(table=1, reference="WEB-9")
    settle()
    dead_letter_about(waiting)
    return Delivery.objects.get(state=DeliveryState.DEAD)


def test_a_dead_letter_is_replayed_once_its_cause_is_gone(owner: Client) -> None:
    dead = a_dead_letter()
    act(owner, "receive", [PurchaseOrder.objects.get()])
    settle()
    said = act(owner, "replay", [dead], reason="The goods are there now")
    assert "Replayed 1 delivery." in said
    settle()
    assert not Delivery.objects.filter(pk=dead.pk).exists()
    assert the_log()[-1] == ("olga", str(dead), "Replayed: The goods are there now")


def test_a_dead_letter_that_fails_again_remembers_who_replayed_it(owner: Client) -> None:
    dead = a_dead_letter()
    act(owner, "replay", [dead], reason="Let us see")
    settle()
    page = text_of(owner.get(page_url(dead)).content.decode())
    assert "Replayed by olga" in page
    assert "Let us see" in page
    assert "State: Dead" in page


def test_a_dead_letter_is_discarded(owner: Client) -> None:
    dead = a_dead_letter()
    assert "Discarded 1 delivery." in act(owner, "discard", [dead], reason="Sent by mistake")
    dead.refresh_from_db()
    assert dead.state == DeliveryState.DISCARDED
    assert "Discarded by olga" in dead.decision


@pytest.mark.parametrize("action", ["replay", "discard"])
@pytest.mark.parametrize("reason", ["", "   "])
def test_it_rejects_a_decision_without_a_reason(owner: Client, action: str, reason: str) -> None:
    dead = a_dead_letter()
    assert "Say why, in a few words" in act(owner, action, [dead], reason=reason)
    dead.refresh_from_db()
    assert (dead.state, dead.decision) == (DeliveryState.DEAD, "")
    assert the_log() == []


def test_a_delivery_that_is_not_dead_is_left_alone(owner: Client) -> None:
    place(table=1)
    alive = Delivery.objects.latest("id")
    assert NOTHING_TO_DO in act(owner, "discard", [alive], reason="Why not")
    alive.refresh_from_db()
    assert alive.state == DeliveryState.WAITING
    assert the_log() == []


# -- who may --------------------------------------------------------------------------------------------------------------


def test_who_may_only_look_is_offered_no_action_and_cannot_run_one(db: None) -> None:
    vera = staff("vera")
    orders = two_deliverable_orders()
    dead = a_dead_letter()
    purchase = PurchaseOrder.objects.get()
    for rows, actions in ((orders, ["deliver"]), ([purchase], ["receive"]), ([dead], ["replay", "discard"])):
        assert 'name="action"' not in vera.get(list_url(type(rows[0]))).content.decode()
        for action in actions:
            act(vera, action, rows, reason="I want to")
    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD
    assert states(orders) == {"deliverable"}
    assert not Receipt.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("model", "permission", "action"),
    [
        (SalesOrder, "deliver_salesorder", "deliver"),
        (PurchaseOrder, "receive_purchaseorder", "receive"),
        (Delivery, "change_delivery", "replay"),
    ],
)
def test_who_has_the_permission_may_run_the_action_and_still_not_edit_the_row(
    db: None, model: type[Model], permission: str, action: str
) -> None:
    carl = staff("carl", permission)
    deliverable = two_deliverable_orders()[0]
    dead = a_dead_letter()
    row = {SalesOrder: deliverable, PurchaseOrder: PurchaseOrder.objects.get(), Delivery: dead}[model]
    act(carl, action, [row], reason="It is my job")
    assert [entry[0] for entry in the_log()] == ["carl"]
    assert carl.post(page_url(row), {}).status_code == 403
