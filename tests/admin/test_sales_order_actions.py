"""Actions on sales orders: cancel, change lines, retry, deliver."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.messaging.models import QueuedMessage
from purchase.services import cancel_purchase_orders
from sales.models import OrderStatus, SalesOrder
from sales.services import change_order
from tests.admin.conftest import (
    CONFIRMATION,
    NO_CHANGES_NEEDED,
    REASON,
    awaited_purchase_order,
    change_lines_form,
    confirm,
    confirm_bulk,
    list_url,
    log_entries,
    open_form,
    page_html,
    page_text,
    page_url,
    place,
    post,
    run_action,
    statuses,
    two_deliverable_orders,
)
from tests.conftest import add_stock, drain_all, lines, product


def ordered(order: SalesOrder) -> dict[str, int]:
    return dict(order.lines.values_list("product__sku", "quantity"))


def order_status(order: SalesOrder) -> OrderStatus:
    return OrderStatus.objects.get(order=order)


def needing_attention(settings: Settings) -> SalesOrder:
    """Return an order whose purchase limit is reached: its only purchase order was cancelled."""
    settings.ORDERFLOW_MAX_REPURCHASES = 0
    order = place(table=1, reference="WEB-9")
    drain_all()
    cancel_purchase_orders([awaited_purchase_order(order)], actor="anna")
    drain_all()
    QueuedMessage.objects.update(due_at=timezone.now())  # the scheduled retry
    drain_all()
    assert order_status(order).needs_attention
    return order


# -- cancel --------------------------------------------------------------------------------------


def test_cancelled_order_shows_actor_and_reason(superuser: Client) -> None:
    order = two_deliverable_orders()[0]
    assert f'href="{page_url(order, "cancel")}"' in page_html(superuser, order)
    text = confirm(superuser, "cancel", order)
    assert "Cancelled 1 sales order." in text
    assert f"Deliverable → Cancelled olga – {REASON}" in text
    change = order.order_status.changes.latest("id")
    assert (change.to_status, change.actor, change.reason) == ("cancelled", "olga", REASON)
    assert log_entries() == [("olga", "WEB-1", f"Cancelled: {REASON}")]


def test_selected_orders_are_confirmed_and_cancelled(superuser: Client) -> None:
    orders = two_deliverable_orders()
    assert "Cancel: 2 sales orders WEB-2 WEB-1" in run_action(superuser, "cancel", orders)
    assert statuses(orders) == {"deliverable"}
    assert "Cancelled 2 sales orders." in confirm_bulk(superuser, "cancel", orders)
    assert statuses(orders) == {"cancelled"}
    assert {order.order_status.changes.latest("id").reason for order in orders} == {REASON}
    assert len(log_entries()) == 2


def test_confirmation_page_contains_selected_ids(superuser: Client) -> None:
    orders = two_deliverable_orders()
    form = {
        "action": "cancel",
        "_selected_action": [str(orders[0].pk)],
        "select_across": "1",
        "index": "0",
    }
    page = superuser.post(list_url(SalesOrder), form).content.decode()
    for order in orders:
        assert f'name="_selected_action" value="{order.pk}"' in page
    assert 'name="action" value="cancel"' in page
    assert 'name="confirmed"' in page
    assert "csrfmiddlewaretoken" in page


def test_rejects_cancel_if_one_order_is_delivered(superuser: Client) -> None:
    orders = two_deliverable_orders()
    delivered = place(chair=1, reference="WEB-3")
    drain_all()
    text = confirm_bulk(superuser, "cancel", [*orders, delivered])
    assert "Sales order WEB-3 cannot be cancelled: its status is delivered." in text
    assert statuses(orders) == {"deliverable"}
    assert log_entries() == []


def test_repeated_cancel_changes_nothing(superuser: Client) -> None:
    order = two_deliverable_orders()[0]
    confirm(superuser, "cancel", order)
    assert NO_CHANGES_NEEDED in confirm(superuser, "cancel", order)
    assert len(log_entries()) == 1
    assert order.order_status.changes.filter(to_status="cancelled").count() == 1


def test_rejects_bulk_action_if_one_order_left_the_list(superuser: Client) -> None:
    delivered, other = two_deliverable_orders()
    run_action(superuser, "deliver", [delivered])
    LogEntry.objects.all().delete()
    url = f"{list_url(SalesOrder)}?order_status__status__exact=deliverable"
    selected = [str(delivered.pk), str(other.pk)]
    form = {"action": "cancel", "_selected_action": selected, **CONFIRMATION}
    assert "Some selected rows are not in this list." in post(superuser, url, form)
    assert statuses([other]) == {"deliverable"}
    assert log_entries() == []


def test_rejects_too_many_selected_rows(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderflow.admin_tools.actions.MAX_ROWS", 1)
    orders = two_deliverable_orders()
    assert "Select at most 1 rows." in confirm_bulk(superuser, "cancel", orders)
    assert statuses(orders) == {"deliverable"}


# -- change lines --------------------------------------------------------------------------------


def test_change_form_shows_lines_and_empty_rows(superuser: Client) -> None:
    order = place(chair=2, table=3)
    page = open_form(superuser, "change_lines", order)
    for sku, quantity in ordered(order).items():
        assert f'value="{product(sku)}" selected' in page
        assert f'value="{quantity}"' in page
    assert 'name="lines-TOTAL_FORMS" value="5"' in page
    assert 'name="revision" value="1"' in page


def test_changed_lines_replace_all_lines(superuser: Client) -> None:
    order = place(chair=2, table=3, lamp=1, reference="WEB-1")
    drain_all()
    form = change_lines_form(
        (product("chair"), 5),
        (product("table"), ""),
        (product("lamp"), 0),
        ("", ""),
        (product("desk"), 1),
    )
    text = confirm(superuser, "change_lines", order, **form)
    assert "Changed lines of 1 sales order." in text
    assert ordered(order) == {"chair": 5, "desk": 1}
    assert order_status(order).revision == 2
    change = order.order_status.changes.latest("id")
    assert (change.actor, change.reason) == ("olga", REASON)
    assert log_entries() == [("olga", "WEB-1", f"Changed lines: {REASON}")]
    drain_all()
    assert order.order_status.status == "awaiting_stock_reservation"


def test_unchanged_form_changes_nothing(superuser: Client) -> None:
    order = place(chair=2, table=3)
    page = open_form(superuser, "change_lines", order)
    inputs = r'<input type="(?:hidden|number)" name="([^"]+)" value="([^"]*)"'
    form = dict(re.findall(inputs, page)) | {
        f"lines-{index}-product": line.product_id for index, line in enumerate(order.lines.all())
    }
    assert NO_CHANGES_NEEDED in confirm(superuser, "change_lines", order, **form)
    assert (ordered(order), log_entries()) == ({"chair": 2, "table": 3}, [])
    assert order_status(order).revision == 1


def test_line_without_product_is_removed(superuser: Client) -> None:
    order = place(chair=2, table=3)
    form = change_lines_form((product("chair"), 2), ("", ""))
    confirm(superuser, "change_lines", order, **form)
    assert ordered(order) == {"chair": 2}


def test_rejects_change_of_older_revision(superuser: Client) -> None:
    order = place(chair=2, reference="WEB-1")
    change_order(order.pk, lines(chair=3), actor="anna")
    form = change_lines_form((product("chair"), 9))
    text = confirm(superuser, "change_lines", order, **form)
    assert "Revision 1 of sales order WEB-1 is not current; the current revision is 2." in text
    assert ordered(order) == {"chair": 3}
    assert log_entries() == []


def test_repeated_change_changes_once(superuser: Client) -> None:
    order = place(chair=2)
    form = change_lines_form((product("chair"), 5))
    for _ in range(2):
        confirm(superuser, "change_lines", order, **form)
    assert order_status(order).revision == 2


def chairs(quantity: object, **fields: object) -> dict[str, Any]:
    return {**change_lines_form((product("chair"), quantity)), **fields}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (lambda: change_lines_form(), "At least one line is required."),
        (lambda: chairs(0), "At least one line is required."),
        (lambda: chairs(-1), "greater than or equal to 0"),
        (lambda: chairs(1_000_000_001), "less than or equal to 1000000000"),
        (lambda: chairs("9" * 5000), "Enter a whole number"),
        (lambda: chairs("a\0b"), "Enter a whole number"),
        (
            lambda: change_lines_form((product("chair"), 999_999_999), (product("chair"), 2)),
            "The quantity is 1,000,000,001.",
        ),
        (lambda: change_lines_form(("", 3)), "Select a product for this quantity."),
        (lambda: change_lines_form(("no uuid", 3)), "valid UUID"),
        (lambda: change_lines_form((uuid4(), 3)), "valid choice"),
        (lambda: chairs(3, revision=""), "This field is required"),
        (lambda: chairs(3, revision="9" * 30), "is not current; the current revision is 1."),
        (lambda: chairs(3) | {"lines-TOTAL_FORMS": "many"}, "ManagementForm data is missing"),
        (lambda: chairs(3, reason=""), "A reason is required"),
    ],
)
def test_rejects_invalid_change(
    superuser: Client, form: Callable[[], dict[str, Any]], error: str
) -> None:
    order = place(chair=2)
    text = confirm(superuser, "change_lines", order, **form())
    assert "No changes were made." in text
    assert error in text
    assert ordered(order) == {"chair": 2}
    assert log_entries() == []


def test_rejects_change_of_delivered_order(superuser: Client) -> None:
    add_stock(chair=2)
    order = place(chair=2, reference="WEB-1")
    drain_all()
    text = confirm(superuser, "change_lines", order, **chairs(1))
    assert "Sales order WEB-1 cannot be changed: its status is delivered." in text
    assert ordered(order) == {"chair": 2}


# -- retry ---------------------------------------------------------------------------------------


def test_order_needing_attention_is_found_and_retried(
    superuser: Client, settings: Settings
) -> None:
    order = needing_attention(settings)
    place(lamp=1)
    query = {"order_status__needs_attention__exact": "1"}
    found = superuser.get(list_url(SalesOrder), query).context["cl"].result_list
    assert list(found) == [order]
    assert "Retried 1 sales order." in confirm_bulk(superuser, "retry", [order])
    assert not order_status(order).needs_attention
    assert order.order_status.changes.latest("id").reason == REASON
    assert log_entries() == [("olga", "WEB-9", f"Retried reservation: {REASON}")]
    drain_all()
    assert order_status(order).status == "awaiting_goods_received"


def test_rejects_retry_if_one_order_awaits_goods(superuser: Client, settings: Settings) -> None:
    order, other = needing_attention(settings), place(lamp=1, reference="WEB-2")
    drain_all()
    text = confirm_bulk(superuser, "retry", [order, other])
    assert "Sales order WEB-2 cannot be retried" in text
    assert order_status(order).needs_attention
    assert log_entries() == []


# -- pages ---------------------------------------------------------------------------------------


def buttons(client: Client, order: SalesOrder) -> list[str]:
    url = page_url(order).removesuffix("change/")
    return re.findall(rf'<a href="{url}\w+/">([^<]+)</a>', page_html(client, order))


def test_order_is_delivered_from_its_page(superuser: Client) -> None:
    order = two_deliverable_orders()[0]
    assert "Deliver" in buttons(superuser, order)
    assert "Delivered 1 sales order." in confirm(superuser, "deliver", order)
    assert order_status(order).status == "delivered"


def test_buttons_follow_the_status(superuser: Client, settings: Settings) -> None:
    attention = needing_attention(settings)
    add_stock(desk=1)
    awaiting, deliverable = place(lamp=1), place(desk=1, delivery_mode="manual")
    drain_all()
    assert buttons(superuser, attention) == ["Cancel", "Change lines", "Retry reservation"]
    assert buttons(superuser, awaiting) == ["Cancel", "Change lines"]
    assert buttons(superuser, deliverable) == ["Deliver", "Cancel", "Change lines"]
    confirm(superuser, "cancel", awaiting)
    assert buttons(superuser, awaiting) == []


@pytest.mark.parametrize(
    ("model", "field"),
    [(SalesOrder, "order_status__overdue__exact"), (OrderStatus, "overdue__exact")],
)
def test_overdue_filter_finds_overdue_orders(
    superuser: Client, model: type[SalesOrder | OrderStatus], field: str
) -> None:
    overdue, on_time = place(lamp=1), place(lamp=1)
    OrderStatus.objects.filter(order=overdue).update(overdue=True)
    found = superuser.get(list_url(model), {field: "1"}).context["cl"].result_list
    assert [row.pk for row in found] == [overdue.pk]
    assert "Overdue: yes" in page_text(superuser, overdue)
    assert "Overdue: yes" not in page_text(superuser, on_time)
