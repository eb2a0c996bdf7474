"""The main journey, through a real worker: bought, received, retried, delivered, once."""

from orderflow.messaging.models import QueuedMessage, StoredMessage
from purchase.models import PurchaseOrder
from purchase.services import ReceiptDraft, receive_goods
from sales.models import OrderStatus
from sales.services import SalesOrderDraft, place_orders
from stock.models import MovementType, StockLevel, StockMovement
from tests.conftest import lines
from tests.end_to_end.conftest import ProcessRunner, assert_eventually


def test_an_order_that_must_be_bought_is_bought_received_retried_and_delivered_once(
    worker: ProcessRunner,
) -> None:
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=3))])

    def status() -> OrderStatus:
        return OrderStatus.objects.get(order=order)

    assert_eventually(lambda: status().status == "awaiting_goods_received")
    assert_eventually(lambda: PurchaseOrder.objects.exists())
    purchase_order = PurchaseOrder.objects.get()
    assert status().purchase_order_id == purchase_order.id

    receive_goods([ReceiptDraft(purchase_order_id=purchase_order.id)])

    assert_eventually(lambda: status().status == "delivered")
    assert_eventually(
        lambda: not QueuedMessage.objects.exists()
    )  # the retry, too, has been answered
    assert [(change.from_status, change.to_status) for change in status().changes.all()][-1] == (
        "deliverable",
        "delivered",
    )
    assert StockMovement.objects.filter(movement_type=MovementType.SHIPPED).count() == 1
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1
    assert StoredMessage.objects.filter(type="purchase.CreatePurchaseOrder").count() == 1
    assert PurchaseOrder.objects.count() == 1
    assert StockLevel.objects.get().on_hand == 0
