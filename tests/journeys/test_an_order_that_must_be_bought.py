"""The main journey, through a real worker: bought, received, retried, delivered, once."""

from orderflow.messaging.models import Delivery, StoredMessage
from purchase.models import PurchaseOrder
from purchase.services import Arrival, receive_goods
from sales.models import OrderStatus
from sales.services import NewOrder, place_orders
from stock.models import Balance, Movement, StockMovement
from tests.conftest import lines
from tests.journeys.conftest import Workshop, assert_eventually


def test_an_order_that_must_be_bought_is_bought_received_retried_and_delivered_once(worker: Workshop) -> None:
    [order] = place_orders([NewOrder(lines=lines(chair=3))])

    def status() -> OrderStatus:
        return OrderStatus.objects.get(order=order)

    assert_eventually(lambda: status().state == "awaiting_goods_received")
    assert_eventually(lambda: PurchaseOrder.objects.exists())
    purchase_order = PurchaseOrder.objects.get()
    assert status().purchase_order_id == purchase_order.id

    receive_goods([Arrival(purchase_order_id=purchase_order.id)])

    assert_eventually(lambda: status().state == "delivered")
    assert_eventually(lambda: not Delivery.objects.exists())  # the retry, too, has been answered
    assert [(change.from_state, change.to_state) for change in status().changes.all()][-1] == ("deliverable", "delivered")
    assert StockMovement.objects.filter(kind=Movement.SHIPPED).count() == 1
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1
    assert StoredMessage.objects.filter(type="purchase.CreatePurchaseOrder").count() == 1
    assert PurchaseOrder.objects.count() == 1
    assert Balance.objects.get().on_hand == 0
