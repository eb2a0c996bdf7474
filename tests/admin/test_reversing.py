"""What was counted wrongly when goods arrived is reversed by who finds out, with a reason, and comes again."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from purchase.models import PurchaseOrder, Receipt
from purchase.services import Arrival, receive_goods
from stock.models import Balance, ReceiptReversal
from tests.admin.conftest import add_url, ordered_table, page_url, place, staff, text_of
from tests.conftest import product, settle


def five_tables_received() -> Receipt:
    order = ordered_table(5)
    [receipt] = receive_goods([Arrival(purchase_order_id=order.id)], by="anna")
    settle()
    return receipt


def reversal(receipt: object, quantity: object = 2, **fields: object) -> dict[str, Any]:
    given = {"new_id": uuid4(), "receipt": receipt, "product": product("table"), "quantity": quantity, "reason": "miscounted"}
    return given | fields


def test_what_was_counted_wrongly_is_reversed_and_its_purchase_order_says_so(owner: Client) -> None:
    receipt = five_tables_received()
    response = owner.post(add_url(ReceiptReversal), reversal(receipt.pk))
    booked = ReceiptReversal.objects.get(corrects=receipt.pk)
    assert response.headers["Location"] == page_url(booked)
    assert (booked.on_hand, booked.reason, booked.by) == (-2, "miscounted", "olga")
    settle()
    assert Balance.objects.get().on_hand == 3
    assert PurchaseOrder.objects.get().status == "closed_short"
    page = text_of(owner.get(page_url(receipt.order)).content.decode())
    assert "olga miscounted" in page
    assert receipt.lines.get().reversed == 2
    assert LogEntry.objects.get().object_id == str(booked.pk)


def test_the_way_from_a_receipt_to_its_reversal_fills_in_what_is_known(owner: Client) -> None:
    receipt = five_tables_received()
    link = f"{add_url(ReceiptReversal)}?product={product('table')}&amp;receipt={receipt.pk}"
    assert link in owner.get(page_url(receipt)).content.decode()
    page = owner.get(add_url(ReceiptReversal), {"product": str(product("table")), "receipt": str(receipt.pk)}).content.decode()
    assert f'value="{product("table")}" selected' in page
    assert f'value="{receipt.pk}"' in page


def test_a_reversal_that_is_sent_twice_is_booked_once(owner: Client) -> None:
    form = reversal(five_tables_received().pk)
    first, second = owner.post(add_url(ReceiptReversal), form), owner.post(add_url(ReceiptReversal), form)
    assert first.headers["Location"] == second.headers["Location"]
    assert Balance.objects.get().on_hand == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quantity": 6}, "booked 5 of this product"),
        ({"quantity": 0}, "greater than or equal to 1"),
        ({"quantity": "9" * 40}, "less than or equal to"),
        ({"receipt": uuid4()}, "booked nothing of this product"),
        ({"receipt": "no uuid"}, "Enter a valid UUID"),
        ({"receipt": "a\0b"}, "Enter a valid UUID"),
        ({"receipt": ""}, "required"),
        ({"product": uuid4()}, "valid choice"),
        ({"reason": " "}, "Say why"),
        ({"reason": "x" * 201}, "at most 200"),
        ({"new_id": "no uuid"}, "Enter a valid UUID"),
    ],
)
def test_it_rejects_what_a_reversal_cannot_be(owner: Client, change: dict[str, object], why: str) -> None:
    response = owner.post(add_url(ReceiptReversal), reversal(five_tables_received().pk) | change)
    assert why in text_of(response.content.decode())
    assert not ReceiptReversal.objects.filter(corrects__isnull=False).exists()


def test_goods_that_are_promised_are_not_reversed(owner: Client) -> None:
    receipt = five_tables_received()
    place(table=4, delivery="manual")
    settle()
    response = owner.post(add_url(ReceiptReversal), reversal(receipt.pk))
    assert "of 5 on hand 4 are promised" in text_of(response.content.decode())
    assert Balance.objects.get().on_hand == 5


def test_who_may_only_look_reverses_nothing(db: None) -> None:
    receipt = five_tables_received()
    assert staff("vera").post(add_url(ReceiptReversal), reversal(receipt.pk)).status_code == 403
    sam = staff("sam", "add_receiptreversal")
    sam.post(add_url(ReceiptReversal), reversal(receipt.pk))
    assert ReceiptReversal.objects.get(corrects=receipt.pk).by == "sam"
