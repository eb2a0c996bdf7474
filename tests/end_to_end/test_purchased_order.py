"""The main flow: a shortage is purchased, received, reserved and delivered, each once."""

from orderflow.messaging.models import QueuedMessage
from purchase.models import PurchaseOrder
from sales.models import OrderStatus
from stock.models import MovementType, StockMovement
from tests.end_to_end.conftest import ProcessRunner, assert_eventually
from tests.end_to_end.helpers import (
    eventually,
    level,
    linked_purchase_order,
    place,
    published,
    receive,
)


def test_shortage_is_purchased_received_and_delivered_once(worker: ProcessRunner) -> None:
    order = place(chair=3)
    purchase_order = linked_purchase_order(order)
    receive(purchase_order)
    eventually(order, "delivered")
    # The scheduled retry is handled, too.
    assert_eventually(lambda: not QueuedMessage.objects.exists())
    last = OrderStatus.objects.get(order=order).changes.latest("id")
    assert (last.from_status, last.to_status) == ("deliverable", "delivered")
    assert StockMovement.objects.filter(movement_type=MovementType.SHIPPED).count() == 1
    assert published("sales.SalesOrderDelivered") == 1
    assert published("purchase.CreatePurchaseOrder") == 1
    assert PurchaseOrder.objects.get() == purchase_order
    assert level("chair") == (0, 0)
