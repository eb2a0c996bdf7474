from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from orderflow.core.quantities import QuantityOutOfRange
from orderflow.messaging.consuming import drain
from purchase.contract import PurchaseOrderCancelled, ReverseReceipt
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services import close_short
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from stock.models import MovementType, StockMovement
from stock.services import (
    InsufficientStock,
    QuantityExceedsReceived,
    Reversal,
    ReversalAlreadyExists,
    reverse_receipt,
)
from tests.conftest import add_stock, drain_all, lines, product
from tests.purchase.helpers import published_messages, purchase_order, receive
from tests.stock.helpers import handle, level, request, ship

pytestmark = pytest.mark.django_db


def recorded_receipt(order: PurchaseOrder) -> UUID:
    """Receive everything outstanding, drain Stock, and return the id of the receipt."""
    receipt = receive(order)
    drain("stock")
    return receipt.id


def reversal(receipt_id: UUID, sku: str = "chair", **values: Any) -> Reversal:
    """Return a reversal of 2, or with other values."""
    miscounted = Reversal(
        receipt_id=receipt_id, product_id=product(sku), quantity=2, reason="miscounted"
    )
    return replace(miscounted, **values)


def reverse(receipt_id: UUID, sku: str = "chair", *, quantity: int = 2) -> None:
    reverse_receipt(reversal(receipt_id, sku, quantity=quantity), actor="Ada")


# -- the purchase order --------------------------------------------------------------------------


def test_reversed_quantity_is_outstanding_again() -> None:
    order = purchase_order(chair=5)
    receipt = receive(order, chair=4)
    drain_all()
    reverse(receipt.id)
    assert level("chair") == (2, 0)
    drain_all()
    assert PurchaseOrder.objects.get().status == "partially_received"
    assert PurchaseOrderLine.objects.get().received == 2
    receive(order)
    drain_all()
    assert level("chair") == (5, 0)


def test_full_reversal_reopens_partially_received_order() -> None:
    receipt = receive(purchase_order(chair=5), chair=4)
    drain_all()
    reverse(receipt.id, quantity=4)
    drain_all()
    assert PurchaseOrder.objects.get().status == "open"


def test_full_reversal_cancels_withdrawn_order() -> None:
    # Fails if the reversal reopens a withdrawn purchase order.
    [sales_order] = place_orders([SalesOrderDraft(lines=lines(chair=5))])
    drain_all()
    receipt = receive(PurchaseOrder.objects.get(), chair=2)
    drain_all()
    cancel_orders([sales_order.id], actor="Ada")
    drain_all()
    assert PurchaseOrder.objects.get().status == "partially_received"
    reverse(receipt.id)
    drain_all()
    assert PurchaseOrder.objects.get().status == "cancelled"
    assert len(published_messages(PurchaseOrderCancelled)) == 1


def test_reversal_closes_received_order_short_with_history() -> None:
    reverse(recorded_receipt(purchase_order(chair=5, desk=1)))
    drain_all()
    assert dict(PurchaseOrderLine.objects.values_list("product__sku", "received")) == {
        "chair": 3,
        "desk": 1,
    }
    entry = PurchaseOrder.objects.get().history.get()
    assert (entry.from_status, entry.to_status) == ("received", "closed_short")
    assert (entry.actor, entry.reason) == ("Ada", "miscounted")


def test_reversal_keeps_closed_short_order_closed() -> None:
    order = purchase_order(chair=5)
    receipt = receive(order, chair=3)
    close_short([order.id], actor="Ada")
    drain_all()
    reverse(receipt.id)
    drain_all()
    assert PurchaseOrder.objects.get().status == "closed_short"
    assert PurchaseOrderLine.objects.get().received == 1


# -- the stock ledger ----------------------------------------------------------------------------


def test_reversal_is_recorded_with_its_receipt() -> None:
    receipt_id = recorded_receipt(purchase_order(chair=5))
    miscounted = reversal(receipt_id)
    reverse_receipt(miscounted, actor="Ada")
    movement = StockMovement.objects.latest("id")
    assert movement.movement_type == MovementType.REVERSED
    assert (movement.on_hand, movement.reserved) == (-2, 0)
    assert movement.source_document_id == miscounted.id
    assert movement.reversed_receipt_id == receipt_id
    assert (movement.actor, movement.reason) == ("Ada", "miscounted")


def test_repeated_reversal_is_recorded_once() -> None:
    miscounted = reversal(recorded_receipt(purchase_order(chair=5)))
    reverse_receipt(miscounted, actor="Ada")
    reverse_receipt(miscounted, actor="Ada")
    drain_all()
    assert level("chair") == (3, 0)
    assert PurchaseOrderLine.objects.get().received == 3
    assert len(published_messages(ReverseReceipt)) == 1


@pytest.mark.parametrize(
    ("sku", "values"),
    [("chair", {"quantity": 1}), ("desk", {}), ("chair", {"reason": "damaged"})],
    ids=["other quantity", "other product", "other reason"],
)
def test_rejects_other_reversal_with_existing_id(sku: str, values: dict[str, Any]) -> None:
    receipt_id = recorded_receipt(purchase_order(chair=5, desk=2))
    miscounted = reversal(receipt_id)
    reverse_receipt(miscounted, actor="Ada")
    other = reversal(receipt_id, sku, id=miscounted.id, **values)
    with pytest.raises(ReversalAlreadyExists, match=str(miscounted.id)):
        reverse_receipt(other, actor="Ada")
    assert (level("chair"), level("desk")) == ((3, 0), (2, 0))


def test_rejects_reversing_more_than_received() -> None:
    add_stock(chair=9)
    receipt_id = recorded_receipt(purchase_order(chair=5))
    with pytest.raises(
        QuantityExceedsReceived, match=r"reverse 6 of receipt .*: of this product, 5 can be"
    ):
        reverse(receipt_id, quantity=6)
    reverse(receipt_id, quantity=4)
    with pytest.raises(
        QuantityExceedsReceived, match=r"reverse 2 of receipt .*: of this product, 1 can be"
    ):
        reverse(receipt_id, quantity=2)
    assert level("chair") == (10, 0)


def test_rejects_reversing_product_missing_from_receipt() -> None:
    add_stock(lamp=9)
    with pytest.raises(QuantityExceedsReceived, match="of this product, 0 can be reversed"):
        reverse(recorded_receipt(purchase_order(chair=5)), "lamp", quantity=1)


def test_rejects_reversing_receipt_not_recorded_yet() -> None:
    add_stock(chair=9)
    receipt = receive(purchase_order(chair=5))
    with pytest.raises(QuantityExceedsReceived, match="wait a minute and repeat the request"):
        reverse(receipt.id, quantity=1)


@pytest.mark.parametrize("shipped", [False, True], ids=["reserved", "shipped"])
def test_rejects_reversing_reserved_or_shipped_goods(shipped: bool) -> None:
    receipt_id, order = recorded_receipt(purchase_order(chair=5)), uuid4()
    handle(request(order, chair=4), *([ship(order)] if shipped else []))
    advice = (
        ", 1 available. Reduce .*Shipped goods cannot be reversed"
        if shipped
        else ", 1 available. Cancel or change a sales order"
    )
    with pytest.raises(InsufficientStock, match=advice):
        reverse(receipt_id)
    reverse(receipt_id, quantity=1)
    assert level("chair") == ((0, 0) if shipped else (4, 4))


@pytest.mark.parametrize("quantity", [0, -1])
def test_rejects_reversal_quantity_out_of_range(quantity: int) -> None:
    with pytest.raises(QuantityOutOfRange):
        reverse(recorded_receipt(purchase_order(chair=5)), quantity=quantity)
