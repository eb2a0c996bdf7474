"""Sales orders are cancelled, changed and tried again on pages that ask why; what is refused is said there."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.messaging.models import Delivery
from purchase.services import cancel_purchase_orders
from sales.models import OrderStatus, SalesOrder
from sales.services import change_order
from tests.admin.conftest import (
    NOTHING_TO_DO,
    WHY,
    act,
    answer,
    answer_about,
    ask,
    list_url,
    new_lines,
    on_the_shelf,
    page_url,
    place,
    states,
    text_of,
    the_log,
    two_deliverable_orders,
)
from tests.conftest import lines, product, settle


def wanted(order: SalesOrder) -> dict[str, int]:
    return dict(order.lines.values_list("product__sku", "quantity"))


def needing_attention(settings: Settings) -> SalesOrder:
    """It was bought for, and the purchase order was cancelled: once is in vain often enough."""
    settings.ORDERFLOW_REPURCHASES = 0
    order = place(table=1, reference="WEB-1")
    settle()
    cancel_purchase_orders([OrderStatus.objects.get(order=order).purchase_order_id or uuid4()], by="anna")
    settle()
    Delivery.objects.update(due_at=timezone.now())  # the timer of the retry
    settle()
    assert OrderStatus.objects.get(order=order).needs_attention
    return order


# -- cancel ---------------------------------------------------------------------------------------------------


def test_an_order_is_cancelled_on_its_page_and_its_history_says_who_and_why(owner: Client) -> None:
    order = two_deliverable_orders()[0]
    page = owner.get(page_url(order)).content.decode()
    assert f'href="{page_url(order, "cancel")}"' in page
    said = answer(owner, "cancel", order)
    assert "Cancelled 1 sales order." in said
    assert f"deliverable → cancelled olga – {WHY}" in said
    change = order.status.changes.latest("id")
    assert (change.to_state, change.by, change.reason) == ("cancelled", "olga", WHY)
    assert the_log() == [("olga", "WEB-1", f"Cancelled: {WHY}")]


def test_chosen_orders_are_shown_and_cancelled_for_one_reason(owner: Client) -> None:
    orders = two_deliverable_orders()
    page = act(owner, "cancel", orders)
    assert "Cancel 2 sales orders: WEB-2 WEB-1" in page
    assert states(orders) == {"deliverable"}
    assert "Cancelled 2 sales orders." in answer_about(owner, "cancel", orders)
    assert states(orders) == {"cancelled"}
    assert {order.status.changes.latest("id").reason for order in orders} == {WHY}
    assert len(the_log()) == 2


def test_the_page_about_chosen_orders_brings_them_along(owner: Client) -> None:
    orders = two_deliverable_orders()
    form = {"action": "cancel", "_selected_action": [str(orders[0].pk)], "select_across": "1", "index": "0"}
    page = owner.post(list_url(SalesOrder), form).content.decode()
    for order in orders:
        assert f'name="_selected_action" value="{order.pk}"' in page
    assert 'name="action" value="cancel"' in page
    assert 'name="answered"' in page
    assert "csrfmiddlewaretoken" in page


def test_one_delivered_order_keeps_all_that_were_chosen_from_being_cancelled(owner: Client) -> None:
    orders = two_deliverable_orders()
    delivered = place(chair=1, reference="WEB-3")
    settle()
    said = answer_about(owner, "cancel", [*orders, delivered])
    assert "Sales order WEB-3 cannot be cancelled any more: it was delivered." in said
    assert states(orders) == {"deliverable"}
    assert the_log() == []


def test_cancelling_twice_cancels_once(owner: Client) -> None:
    order = two_deliverable_orders()[0]
    answer(owner, "cancel", order)
    assert NOTHING_TO_DO in answer(owner, "cancel", order)
    assert len(the_log()) == 1
    assert order.status.changes.filter(to_state="cancelled").count() == 1


def test_what_has_left_the_list_meanwhile_keeps_all_that_were_chosen(owner: Client) -> None:
    left, right = two_deliverable_orders()
    act(owner, "deliver", [left])
    LogEntry.objects.all().delete()
    form = {"action": "cancel", "_selected_action": [str(left.pk), str(right.pk)], "answered": "yes", "reason": WHY}
    answered = owner.post(f"{list_url(SalesOrder)}?status__state__exact=deliverable", form, follow=True)
    assert "Not all that was chosen is in this list any more." in text_of(answered.content.decode())
    assert states([right]) == {"deliverable"}
    assert the_log() == []


def test_too_many_at_once_are_refused(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderflow.admin_tools.asking.MOST_AT_ONCE", 1)
    orders = two_deliverable_orders()
    assert "Choose at most 1 at once." in answer_about(owner, "cancel", orders)
    assert states(orders) == {"deliverable"}


# -- change --------------------------------------------------------------------------------------------------


def test_the_page_to_change_an_order_shows_its_lines_and_room_for_more(owner: Client) -> None:
    order = place(chair=2, table=3)
    page = ask(owner, "change_lines", order)
    for sku, quantity in wanted(order).items():
        assert f'value="{product(sku)}" selected' in page
        assert f'value="{quantity}"' in page
    assert 'name="lines-TOTAL_FORMS" value="5"' in page
    assert 'name="revision" value="1"' in page


def test_changed_lines_are_wanted_from_now_on(owner: Client) -> None:
    order = place(chair=2, table=3, lamp=1, reference="WEB-1")
    settle()
    form = new_lines((product("chair"), 5), (product("table"), ""), (product("lamp"), 0), ("", ""), (product("desk"), 1))
    assert "Changed the lines of 1 sales order." in answer(owner, "change_lines", order, **form)
    assert wanted(order) == {"chair": 5, "desk": 1}
    assert OrderStatus.objects.get().revision == 2
    change = order.status.changes.latest("id")
    assert (change.by, change.reason) == ("olga", WHY)
    assert the_log() == [("olga", "WEB-1", f"Changed the lines: {WHY}")]
    settle()
    assert order.status.state == "awaiting_stock_reservation"


def test_the_page_to_change_an_order_sent_back_as_it_came_changes_nothing(owner: Client) -> None:
    order = place(chair=2, table=3)
    page = ask(owner, "change_lines", order)
    form = dict(re.findall(r'<input type="(?:hidden|number)" name="([^"]+)" value="([^"]*)"', page))
    form |= {f"lines-{number}-product": line.product_id for number, line in enumerate(order.lines.all())}
    assert NOTHING_TO_DO in answer(owner, "change_lines", order, **form)
    assert (wanted(order), the_log()) == ({"chair": 2, "table": 3}, [])
    assert OrderStatus.objects.get().revision == 1


def test_a_line_whose_product_was_cleared_is_not_wanted_any_more(owner: Client) -> None:
    order = place(chair=2, table=3)
    answer(owner, "change_lines", order, **new_lines((product("chair"), 2), ("", "")))
    assert wanted(order) == {"chair": 2}


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(owner: Client) -> None:
    order = place(chair=2, reference="WEB-1")
    change_order(order.pk, lines(chair=3), by="anna")
    said = answer(owner, "change_lines", order, **new_lines((product("chair"), 9)))
    assert "Sales order WEB-1 was changed meanwhile: it is at revision 2." in said
    assert wanted(order) == {"chair": 3}
    assert the_log() == []


def test_changing_twice_the_same_way_changes_once(owner: Client) -> None:
    order = place(chair=2)
    form = new_lines((product("chair"), 5))
    answer(owner, "change_lines", order, **form)
    answer(owner, "change_lines", order, **form)
    assert OrderStatus.objects.get().revision == 2


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda: new_lines(), "needs at least one line"),
        (lambda: new_lines((product("chair"), 0)), "needs at least one line"),
        (lambda: new_lines((product("chair"), -1)), "greater than or equal to 0"),
        (lambda: new_lines((product("chair"), 1_000_000_001)), "less than or equal to 1000000000"),
        (lambda: new_lines((product("chair"), "9" * 5000)), "Enter a whole number"),
        (lambda: new_lines((product("chair"), "a\0b")), "Enter a whole number"),
        (lambda: new_lines((product("chair"), 999_999_999), (product("chair"), 2)), "not 1,000,000,001"),
        (lambda: new_lines(("", 3)), "Choose the product"),
        (lambda: new_lines(("no uuid", 3)), "valid UUID"),
        (lambda: new_lines((uuid4(), 3)), "valid choice"),
        (lambda: new_lines((product("chair"), 3), revision=""), "This field is required"),
        (lambda: new_lines((product("chair"), 3), revision="9" * 30), "was changed meanwhile"),
        (lambda: new_lines((product("chair"), 3)) | {"lines-TOTAL_FORMS": "many"}, "ManagementForm data is missing"),
        (lambda: new_lines((product("chair"), 3)) | {"reason": ""}, "Say why, in a few words"),
    ],
)
def test_it_rejects_what_an_order_cannot_become(owner: Client, given: Callable[[], dict[str, Any]], why: str) -> None:
    order = place(chair=2)
    said = answer(owner, "change_lines", order, **given())
    assert "Nothing was done." in said
    assert why in said
    assert wanted(order) == {"chair": 2}
    assert the_log() == []


def test_a_delivered_order_cannot_be_changed(owner: Client) -> None:
    on_the_shelf(chair=2)
    order = place(chair=2, reference="WEB-1")
    settle()
    assert "Sales order WEB-1 cannot be changed" in answer(owner, "change_lines", order, **new_lines((product("chair"), 1)))
    assert wanted(order) == {"chair": 2}


# -- try again -------------------------------------------------------------------------------------------------------------


def test_an_order_that_needs_attention_is_found_and_tried_again(owner: Client, settings: Settings) -> None:
    order = needing_attention(settings)
    place(lamp=1)
    found = owner.get(list_url(SalesOrder), {"status__needs_attention__exact": "1"}).context["cl"].result_list
    assert list(found) == [order]
    assert "Tried again for 1 sales order." in answer_about(owner, "try_again", [order])
    assert not OrderStatus.objects.get(order=order).needs_attention
    assert order.status.changes.latest("id").reason == WHY
    settle()
    assert OrderStatus.objects.get(order=order).state == "awaiting_goods_received"


def test_one_order_that_needs_no_attention_keeps_all_that_were_chosen(owner: Client, settings: Settings) -> None:
    order, fine = needing_attention(settings), place(lamp=1, reference="WEB-2")
    settle()
    assert "WEB-2" in answer_about(owner, "try_again", [order, fine])
    assert OrderStatus.objects.get(order=order).needs_attention
    assert the_log() == []


def test_an_order_is_delivered_from_its_own_page(owner: Client) -> None:
    order = two_deliverable_orders()[0]
    assert "Deliver" in buttons(owner, order)
    assert "Delivered 1 sales order." in answer(owner, "deliver", order)
    assert OrderStatus.objects.get(order=order).state == "delivered"


def test_an_order_has_buttons_for_what_makes_sense(owner: Client) -> None:
    waiting, deliverable = place(lamp=1), two_deliverable_orders()[0]
    settle()
    assert buttons(owner, waiting) == ["Cancel", "Change the lines"]
    assert buttons(owner, deliverable) == ["Deliver", "Cancel", "Change the lines"]
    answer(owner, "cancel", waiting)
    assert buttons(owner, waiting) == []


def buttons(owner: Client, order: SalesOrder) -> list[str]:
    page = owner.get(page_url(order)).content.decode()
    return re.findall(rf'<a href="{page_url(order).removesuffix("change/")}\w+/">([^<]+)</a>', page)


def test_overdue_orders_are_found(owner: Client) -> None:
    late, fine = place(lamp=1), place(lamp=1)
    OrderStatus.objects.filter(order=late).update(overdue=True)
    for model in (SalesOrder, OrderStatus):
        field = "status__overdue__exact" if model is SalesOrder else "overdue__exact"
        assert [row.pk for row in owner.get(list_url(model), {field: "1"}).context["cl"].result_list] == [late.pk]
    assert "Overdue: yes" in text_of(owner.get(page_url(late)).content.decode())
    assert "Overdue: yes" not in text_of(owner.get(page_url(fine)).content.decode())
