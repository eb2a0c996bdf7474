"""Purchase orders are received in parts, cancelled, closed short and expected another day; what is refused is said there."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderChange, Receipt, ReceiptLine
from purchase.services import Arrival, NewPurchaseOrder, cancel_purchase_orders, create_purchase_orders, receive_goods
from stock.models import Balance
from tests.admin.conftest import (
    WHY,
    add_url,
    answer,
    answer_about,
    ask,
    list_url,
    order_form,
    ordered_table,
    page_url,
    text_of,
    the_log,
)
from tests.conftest import lines, product, settle


def arrived(order: PurchaseOrder, *quantities: object, receipt_id: UUID | None = None) -> dict[str, Any]:
    given = zip(order.lines.all(), quantities, strict=True)
    return {"receipt_id": receipt_id or uuid4(), **{f"line-{line.pk}-quantity": quantity for line, quantity in given}}


@pytest.mark.parametrize(
    ("name", "status", "done"),
    [("cancel", "cancelled", "Cancelled"), ("close_short", "closed_short", "Closed short")],
)
def test_purchase_orders_are_ended_for_a_reason_from_the_list_and_from_the_page(
    owner: Client, name: str, status: str, done: str
) -> None:
    alone, *several = [ordered_table(reference=reference) for reference in ("P-1", "P-2", "P-3")]
    assert f'href="{page_url(alone, name)}"' in owner.get(page_url(alone)).content.decode()
    page = answer(owner, name, alone)
    assert f"{done} 1 purchase order." in page
    assert f"olga {WHY}" in page
    assert f"{done} 2 purchase orders." in answer_about(owner, name, several)
    assert set(PurchaseOrder.objects.values_list("status", flat=True)) == {status}
    assert set(PurchaseOrderChange.objects.values_list("by", "reason")) == {("olga", WHY)}
    assert set(the_log()) == {("olga", reference, f"{done}: {WHY}") for reference in ("P-1", "P-2", "P-3")}


def test_one_purchase_order_of_which_a_part_arrived_keeps_all_that_were_chosen_from_being_cancelled(owner: Client) -> None:
    untouched, begun = ordered_table(reference="P-1"), ordered_table(reference="P-2")
    receive_goods([Arrival(purchase_order_id=begun.id, lines=lines(table=1))])
    assert "Purchase order P-2 cannot be cancelled: a part of it has arrived." in answer_about(
        owner, "cancel", [untouched, begun]
    )
    untouched.refresh_from_db()
    assert untouched.status == "open"
    assert the_log() == []


def test_a_complete_purchase_order_cannot_be_closed_short(owner: Client) -> None:
    order = ordered_table()
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert "Purchase order P-1 cannot be closed short: all of it has arrived." in answer(owner, "close_short", order)
    assert the_log() == []


def test_the_page_to_receive_a_part_shows_what_is_still_to_come(owner: Client) -> None:
    wanted = [PeggedQuantity(product_id=product(sku), quantity=4) for sku in ("table", "lamp")]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=wanted)])
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(table=1, lamp=4))])
    page = text_of(ask(owner, "receive_part", order))
    assert "table 4 1 3" in page
    assert "lamp" not in page


def test_a_part_is_received_and_the_rest_is_still_to_come(owner: Client) -> None:
    order = ordered_table(4)
    assert "Received a part of 1 purchase order." in answer(owner, "receive_part", order, **arrived(order, 3))
    order.refresh_from_db()
    assert order.status == "partially_received"
    receipt = Receipt.objects.get()
    assert (receipt.by, receipt.reason) == ("olga", WHY)
    assert the_log() == [("olga", "P-1", f"Received a part: {WHY}")]
    settle()
    assert Balance.objects.get().on_hand == 3


def test_a_part_may_be_received_without_a_reason(owner: Client) -> None:
    order = ordered_table(4)
    answer(owner, "receive_part", order, **arrived(order, 3), reason="")
    assert Receipt.objects.get().reason == ""


def test_a_receipt_that_is_sent_twice_counts_once(owner: Client) -> None:
    order = ordered_table(4)
    form = arrived(order, 4)
    answer(owner, "receive_part", order, **form)
    assert "Received a part of 1 purchase order." in answer(owner, "receive_part", order, **form)
    assert ReceiptLine.objects.get().quantity == 4


def test_a_receipt_that_was_sent_and_then_edited_is_refused(owner: Client) -> None:
    order = ordered_table(4)
    form = arrived(order, 1)
    answer(owner, "receive_part", order, **form)
    assert "There is another receipt" in answer(
        owner, "receive_part", order, **form | arrived(order, 2, receipt_id=form["receipt_id"])
    )
    assert ReceiptLine.objects.get().quantity == 1


def test_goods_fall_on_the_line_they_were_written_at_whatever_arrived_meanwhile(owner: Client) -> None:
    wanted = [PeggedQuantity(product_id=product(sku), quantity=4) for sku in ("table", "lamp")]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=wanted)])
    form = arrived(order, "", 2)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(table=4))])
    answer(owner, "receive_part", order, **form)
    assert list(order.lines.values_list("product__sku", "received")) == [("table", 4), ("lamp", 2)]


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        (5, "only 4 × table are still to come"),
        ("", "Say of at least one line how much arrived."),
        (0, "Say of at least one line how much arrived."),
        (-1, "greater than or equal to 0"),
        ("9" * 5000, "Enter a whole number"),
        ("1\0", "Enter a whole number"),
        ("some", "Enter a whole number"),
    ],
)
def test_it_rejects_what_cannot_have_arrived(owner: Client, quantity: object, why: str) -> None:
    order = ordered_table(4)
    said = answer(owner, "receive_part", order, **arrived(order, quantity))
    assert why in said
    assert not Receipt.objects.exists()
    assert the_log() == []


@pytest.mark.parametrize("receipt_id", ["", "no uuid", "a\0b"])
def test_it_rejects_a_receipt_without_a_good_id(owner: Client, receipt_id: str) -> None:
    order = ordered_table(4)
    assert "Nothing was done." in answer(owner, "receive_part", order, **arrived(order, 1) | {"receipt_id": receipt_id})
    assert not Receipt.objects.exists()


def test_a_purchase_order_is_expected_on_another_day(owner: Client) -> None:
    order = ordered_table()
    PurchaseOrder.objects.update(overdue=True)
    assert "Changed the expected date of 1" in answer(owner, "expect", order, expected_at="2031-05-06T07:30")
    order.refresh_from_db()
    assert (order.expected_at, order.overdue) == (datetime(2031, 5, 6, 7, 30, tzinfo=UTC), False)
    change = order.changes.get()
    assert (change.by, change.reason) == ("olga", WHY)
    assert the_log() == [("olga", "P-1", f"Changed the expected date: {WHY}")]


@pytest.mark.parametrize(
    "day",
    ["", "tomorrow", "9" * 30, "0001-01-01T00:00", "1999-12-31T00:00", "2100-01-02T00:00", "9999-12-31T23:59", "2031-05-06\0"],
)
def test_it_rejects_a_day_that_is_none(owner: Client, day: str) -> None:
    order = ordered_table()
    assert "Nothing was done." in answer(owner, "expect", order, expected_at=day)
    assert not order.changes.exists()


def test_what_was_cancelled_is_not_expected(owner: Client) -> None:
    order = ordered_table()
    cancel_purchase_orders([order.id], by="anna")
    said = answer(owner, "expect", order, expected_at="2031-05-06T07:30")
    assert "Purchase order P-1 is cancelled: nothing of it is expected any more." in said


def test_an_added_purchase_order_is_expected_when_somebody_says_or_after_the_lead_time(owner: Client, settings: Settings) -> None:
    settings.ORDERFLOW_LEAD_TIME = timedelta(days=3)
    for reference, day in (("P-1", "2031-05-06T07:30"), ("P-2", "")):
        owner.post(add_url(PurchaseOrder), order_form((product("table"), 1), reference=reference, expected_at=day))
    assert PurchaseOrder.objects.get(reference="P-1").expected_at == datetime(2031, 5, 6, 7, 30, tzinfo=UTC)
    usual = PurchaseOrder.objects.get(reference="P-2").expected_at - timezone.now()
    assert timedelta(days=2) < usual <= timedelta(days=3)
    assert owner.get(add_url(PurchaseOrder), {"expected_at": "tomorrow\0"}).status_code == 200


def test_overdue_purchase_orders_are_found(owner: Client) -> None:
    late, fine = ordered_table(reference="P-1"), ordered_table(reference="P-2")
    PurchaseOrder.objects.filter(pk=late.pk).update(overdue=True)
    assert list(owner.get(list_url(PurchaseOrder), {"overdue__exact": "1"}).context["cl"].result_list) == [late]
    assert "Overdue: yes" in text_of(owner.get(page_url(late)).content.decode())
    assert "Overdue: yes" not in text_of(owner.get(page_url(fine)).content.decode())
