"""Receipt reversals are added from the page of the receipt, with a reason."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from purchase.models import PurchaseOrder, Receipt
from stock.models import ReceiptReversal, StockLevel
from tests.admin.conftest import (
    add_url,
    create_purchase_order,
    page_html,
    page_text,
    page_url,
    place,
    post,
    receive,
    staff,
)
from tests.conftest import drain_all, product
from tests.saved_rows import create_once


def receive_five_tables() -> Receipt:
    create_once(_receive_five_tables)
    return Receipt.objects.get()


def _receive_five_tables() -> None:
    receive(create_purchase_order(table=5).id)
    drain_all()


def reversal_form(receipt: object, **fields: object) -> dict[str, Any]:
    """Return the form that reverses 2 tables of a receipt."""
    defaults = {"product": product("table"), "quantity": 2, "reason": "miscounted"}
    return {"new_id": uuid4(), "receipt": receipt, **defaults, **fields}


def test_reversal_lowers_stock_and_updates_purchase_order(superuser: Client) -> None:
    receipt = receive_five_tables()
    response = superuser.post(add_url(ReceiptReversal), reversal_form(receipt.pk))
    recorded = ReceiptReversal.objects.get(reversed_receipt_id=receipt.pk)
    assert response.headers["Location"] == page_url(recorded)
    assert (recorded.on_hand, recorded.reason, recorded.actor) == (-2, "miscounted", "olga")
    drain_all()
    assert StockLevel.objects.get().on_hand == 3
    assert PurchaseOrder.objects.get().status == "closed_short"
    assert "olga miscounted" in page_text(superuser, receipt.order)
    assert receipt.lines.get().reversed == 2
    assert LogEntry.objects.get().object_id == str(recorded.pk)


def test_reverse_link_fills_in_product_and_receipt(superuser: Client) -> None:
    receipt = receive_five_tables()
    table = product("table")
    link = f"{add_url(ReceiptReversal)}?product={table}&amp;receipt={receipt.pk}"
    assert link in page_html(superuser, receipt)
    initial = {"product": str(table), "receipt": str(receipt.pk)}
    page = superuser.get(add_url(ReceiptReversal), initial).content.decode()
    assert f'value="{table}" selected' in page
    assert f'value="{receipt.pk}"' in page


def test_repeated_reversal_form_is_recorded_once(superuser: Client) -> None:
    form = reversal_form(receive_five_tables().pk)
    locations = {
        superuser.post(add_url(ReceiptReversal), form).headers["Location"] for _ in range(2)
    }
    assert len(locations) == 1
    assert StockLevel.objects.get().on_hand == 3


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"quantity": 6}, "of this product, 5 can be reversed."),
        ({"quantity": 0}, "greater than or equal to 1"),
        ({"quantity": "9" * 40}, "less than or equal to"),
        ({"receipt": uuid4()}, "of this product, 0 can be reversed."),
        ({"receipt": "no uuid"}, "Enter a valid UUID"),
        ({"receipt": "a\0b"}, "Enter a valid UUID"),
        ({"receipt": ""}, "required"),
        ({"product": uuid4()}, "valid choice"),
        ({"reason": " "}, "A reason is required"),
        ({"reason": "x" * 201}, "at most 200"),
        ({"new_id": "no uuid"}, "Enter a valid UUID"),
    ],
)
def test_rejects_invalid_reversal(
    superuser: Client, fields: dict[str, object], error: str
) -> None:
    form = reversal_form(receive_five_tables().pk) | fields
    assert error in post(superuser, add_url(ReceiptReversal), form)
    assert not ReceiptReversal.objects.filter(reversed_receipt_id__isnull=False).exists()


def test_rejects_reversal_of_reserved_goods(superuser: Client) -> None:
    receipt = receive_five_tables()
    place(table=4, delivery_mode="manual")
    drain_all()
    text = post(superuser, add_url(ReceiptReversal), reversal_form(receipt.pk))
    assert "5 on hand, 4 reserved, 1 available" in text
    assert StockLevel.objects.get().on_hand == 5


def test_reversal_requires_add_permission(db: None) -> None:
    receipt = receive_five_tables()
    form = reversal_form(receipt.pk)
    assert staff("vera").post(add_url(ReceiptReversal), form).status_code == 403
    staff("sam", "add_receiptreversal").post(add_url(ReceiptReversal), form)
    assert ReceiptReversal.objects.get(reversed_receipt_id=receipt.pk).actor == "sam"
