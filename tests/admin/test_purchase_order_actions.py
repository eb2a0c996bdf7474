"""Actions on purchase orders: receive partially, cancel, close short, reschedule."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from purchase.models import PurchaseOrder, PurchaseOrderHistoryEntry, Receipt, ReceiptLine
from purchase.services import cancel_purchase_orders
from stock.models import StockLevel
from tests.admin.conftest import (
    REASON,
    add_url,
    confirm,
    confirm_bulk,
    create_purchase_order,
    list_url,
    log_entries,
    open_form,
    page_html,
    page_text,
    page_url,
    purchase_order_form,
    receive,
    text_of,
)
from tests.conftest import drain_all, product

# -- cancel and close short ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "verb"),
    [("cancel", "cancelled", "Cancelled"), ("close_short", "closed_short", "Closed short")],
)
def test_purchase_orders_close_from_page_and_list(
    superuser: Client, name: str, status: str, verb: str
) -> None:
    references = ("P-1", "P-2", "P-3")
    first, *others = map(create_purchase_order, references)
    assert f'href="{page_url(first, name)}"' in page_html(superuser, first)
    text = confirm(superuser, name, first)
    assert f"{verb} 1 purchase order." in text
    assert f"olga {REASON}" in text
    assert f"{verb} 2 purchase orders." in confirm_bulk(superuser, name, others)
    assert set(PurchaseOrder.objects.values_list("status", flat=True)) == {status}
    history = PurchaseOrderHistoryEntry.objects.values_list("actor", "reason")
    assert set(history) == {("olga", REASON)}
    assert set(log_entries()) == {("olga", each, f"{verb}: {REASON}") for each in references}


def test_rejects_cancel_if_one_order_is_partially_received(superuser: Client) -> None:
    untouched, begun = map(create_purchase_order, ("P-1", "P-2"))
    receive(begun.id, table=1)
    assert (
        "Purchase order P-2 cannot be cancelled: its status is partially received. "
        "Close it short instead."
    ) in confirm_bulk(superuser, "cancel", [untouched, begun])
    untouched.refresh_from_db()
    assert untouched.status == "open"
    assert log_entries() == []


def test_rejects_close_short_of_received_order(superuser: Client) -> None:
    order = create_purchase_order()
    receive(order.id)
    text = confirm(superuser, "close_short", order)
    assert "Purchase order P-1 cannot be closed short: its status is received." in text
    assert log_entries() == []


# -- receive partially ---------------------------------------------------------------------------


def receipt_form(
    order: PurchaseOrder, *quantities: object, receipt_id: UUID | str | None = None
) -> dict[str, Any]:
    """Return the form with a received quantity for each line."""
    received = zip(order.lines.all(), quantities, strict=True)
    return {
        "receipt_id": uuid4() if receipt_id is None else receipt_id,
        **{f"line-{line.pk}-quantity": quantity for line, quantity in received},
    }


def test_receive_form_shows_outstanding_lines(superuser: Client) -> None:
    order = create_purchase_order(table=4, lamp=4)
    receive(order.id, table=1, lamp=4)
    text = text_of(open_form(superuser, "receive_partially", order))
    assert "SKU Ordered Received Outstanding Received now" in text
    assert "table 4 1 3" in text
    assert "lamp" not in text


def test_partial_receipt_leaves_quantity_outstanding(superuser: Client) -> None:
    order = create_purchase_order(table=4)
    text = confirm(superuser, "receive_partially", order, **receipt_form(order, 3))
    assert "Recorded a receipt for 1 purchase order." in text
    order.refresh_from_db()
    assert order.status == "partially_received"
    receipt = Receipt.objects.get()
    assert (receipt.actor, receipt.reason) == ("olga", REASON)
    assert log_entries() == [("olga", "P-1", f"Recorded a receipt: {REASON}")]
    drain_all()
    assert StockLevel.objects.get().on_hand == 3


def test_partial_receipt_needs_no_reason(superuser: Client) -> None:
    order = create_purchase_order(table=4)
    confirm(superuser, "receive_partially", order, **receipt_form(order, 3), reason="")
    assert Receipt.objects.get().reason == ""


def test_repeated_receipt_form_is_recorded_once(superuser: Client) -> None:
    order = create_purchase_order(table=4)
    form = receipt_form(order, 4)
    for _ in range(2):
        text = confirm(superuser, "receive_partially", order, **form)
        assert "Recorded a receipt for 1 purchase order." in text
    assert ReceiptLine.objects.get().quantity == 4


def test_rejects_repeated_receipt_form_with_other_quantity(superuser: Client) -> None:
    order = create_purchase_order(table=4)
    receipt_id = uuid4()
    for quantity in (1, 2):
        form = receipt_form(order, quantity, receipt_id=receipt_id)
        text = confirm(superuser, "receive_partially", order, **form)
    assert f"Another receipt has the id {receipt_id}." in text
    assert ReceiptLine.objects.get().quantity == 1


def test_quantity_stays_with_its_line_after_another_receipt(superuser: Client) -> None:
    order = create_purchase_order(table=4, lamp=4)
    form = receipt_form(order, "", 2)
    receive(order.id, table=4)
    confirm(superuser, "receive_partially", order, **form)
    assert list(order.lines.values_list("product__sku", "received")) == [("table", 4), ("lamp", 2)]


@pytest.mark.parametrize(
    ("quantity", "error"),
    [
        (5, "Cannot receive 5 × table for purchase order P-1: the outstanding quantity is 4"),
        ("", "Enter a received quantity for at least one line."),
        (0, "Enter a received quantity for at least one line."),
        (-1, "greater than or equal to 0"),
        ("9" * 5000, "Enter a whole number"),
        ("1\0", "Enter a whole number"),
        ("some", "Enter a whole number"),
    ],
)
def test_rejects_invalid_received_quantity(
    superuser: Client, quantity: object, error: str
) -> None:
    order = create_purchase_order(table=4)
    form = receipt_form(order, quantity)
    assert error in confirm(superuser, "receive_partially", order, **form)
    assert not Receipt.objects.exists()
    assert log_entries() == []


@pytest.mark.parametrize("receipt_id", ["", "no uuid", "a\0b"])
def test_rejects_invalid_receipt_id(superuser: Client, receipt_id: str) -> None:
    order = create_purchase_order()
    form = receipt_form(order, 1, receipt_id=receipt_id)
    assert "No changes were made." in confirm(superuser, "receive_partially", order, **form)
    assert not Receipt.objects.exists()


# -- expected dates ------------------------------------------------------------------------------


def test_reschedule_sets_date_and_clears_overdue(superuser: Client) -> None:
    order = create_purchase_order()
    PurchaseOrder.objects.update(overdue=True)
    text = confirm(superuser, "reschedule", order, expected_at="2031-05-06T07:30")
    assert "Rescheduled 1 purchase order." in text
    order.refresh_from_db()
    assert (order.expected_at, order.overdue) == (datetime(2031, 5, 6, 7, 30, tzinfo=UTC), False)
    entry = order.history.get()
    assert (entry.actor, entry.reason) == ("olga", REASON)
    assert log_entries() == [("olga", "P-1", f"Rescheduled: {REASON}")]


@pytest.mark.parametrize(
    "expected_at",
    [
        "",
        "tomorrow",
        "9" * 30,
        "0001-01-01T00:00",
        "1999-12-31T00:00",
        "2100-01-02T00:00",
        "9999-12-31T23:59",
        "2031-05-06\0",
    ],
)
def test_rejects_invalid_expected_date(superuser: Client, expected_at: str) -> None:
    order = create_purchase_order()
    text = confirm(superuser, "reschedule", order, expected_at=expected_at)
    assert "No changes were made." in text
    assert not order.history.exists()


def test_rejects_reschedule_of_cancelled_order(superuser: Client) -> None:
    order = create_purchase_order()
    cancel_purchase_orders([order.id], actor="anna")
    text = confirm(superuser, "reschedule", order, expected_at="2031-05-06T07:30")
    assert "Purchase order P-1 is closed: its status is cancelled." in text


def test_added_purchase_order_uses_given_date_or_lead_time(
    superuser: Client, settings: Settings
) -> None:
    settings.ORDERFLOW_LEAD_TIME = timedelta(days=3)
    for reference, expected_at in (("P-1", "2031-05-06T07:30"), ("P-2", "")):
        form = purchase_order_form(
            (product("table"), 1), reference=reference, expected_at=expected_at
        )
        superuser.post(add_url(PurchaseOrder), form)
    given, default = PurchaseOrder.objects.order_by("reference")
    assert given.expected_at == datetime(2031, 5, 6, 7, 30, tzinfo=UTC)
    assert timedelta(days=2) < default.expected_at - timezone.now() <= timedelta(days=3)
    invalid = {"expected_at": "tomorrow\0"}
    assert superuser.get(add_url(PurchaseOrder), invalid).status_code == 200


def test_overdue_filter_finds_overdue_purchase_orders(superuser: Client) -> None:
    overdue, on_time = map(create_purchase_order, ("P-1", "P-2"))
    PurchaseOrder.objects.filter(pk=overdue.pk).update(overdue=True)
    response = superuser.get(list_url(PurchaseOrder), {"overdue__exact": "1"})
    assert list(response.context["cl"].result_list) == [overdue]
    assert "Overdue: yes" in page_text(superuser, overdue)
    assert "Overdue: yes" not in page_text(superuser, on_time)
