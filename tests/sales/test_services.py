from uuid import uuid4

import pytest

from orderflow.catalog.quantities import NoLines, ProductQuantity, QuantityOutOfRange
from orderflow.messaging.models import StoredMessage
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder
from purchase.services import Arrival, NewPurchaseOrder, create_purchase_orders, receive_goods
from sales.models import OrderPurchase, OrderStatus, SalesOrder, SalesOrderLine
from sales.process_manager import OrderCannotBeDelivered
from sales.services import NewOrder, NoSuchOrder, OrderTaken, deliver_orders, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)


def put_on_the_shelf(sku: str, quantity: int) -> None:
    adjust_stock([Adjustment(product_id=product(sku), quantity=quantity, reason="opening")], by="Ada")


def state(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).state


def test_an_order_that_can_be_served_is_delivered_at_once() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2))])
    assert state(order) == "awaiting_stock_reservation"
    settle()
    assert state(order) == "delivered"


def test_an_order_with_manual_delivery_waits_for_a_person() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2), delivery="manual")])
    settle()
    assert state(order) == "deliverable"
    deliver_orders([order.id], by="Grace")
    assert state(order) == "delivered"
    assert list(order.status.changes.values_list("by", flat=True))[-1] == "Grace"


def test_delivering_twice_is_the_same_as_once() -> None:
    put_on_the_shelf("chair", 5)
    [order] = place_orders([NewOrder(lines=lines(chair=2), delivery="manual")])
    settle()
    deliver_orders([order.id], by="Grace")
    deliver_orders([order.id], by="Grace")
    assert StoredMessage.objects.filter(type="sales.SalesOrderDelivered").count() == 1


def test_it_rejects_delivering_what_is_not_there_yet_and_changes_nothing() -> None:
    put_on_the_shelf("chair", 2)
    served, waiting = place_orders(
        [NewOrder(lines=lines(chair=2), delivery="manual"), NewOrder(reference="S-2", lines=lines(desk=1), delivery="manual")]
    )
    settle()
    with pytest.raises(OrderCannotBeDelivered, match="S-2 cannot be delivered yet: it waits for goods that are on order"):
        deliver_orders([served.id, waiting.id], by="Grace")
    assert state(served) == "deliverable"


def test_it_rejects_delivering_an_order_that_does_not_exist() -> None:
    with pytest.raises(NoSuchOrder):
        deliver_orders([uuid4()], by="Grace")


def test_what_is_missing_is_bought_and_remembered() -> None:
    put_on_the_shelf("chair", 2)
    [order] = place_orders([NewOrder(lines=lines(chair=3, desk=1))])
    settle()
    status = OrderStatus.objects.get(order=order)
    purchase_order = PurchaseOrder.objects.get()
    assert (status.state, status.purchase_order_id) == ("awaiting_goods_received", purchase_order.id)
    assert sorted(purchase_order.lines.values_list("product__sku", "quantity", "bought_for")) == [
        ("chair", 3, order.id),
        ("desk", 1, order.id),
    ]


def test_with_the_setting_shortage_only_what_the_shelf_lacks_is_bought(settings: pytest.FixtureRequest) -> None:
    settings.ORDERFLOW_BUY = "shortage"  # type: ignore[attr-defined]
    put_on_the_shelf("chair", 2)
    place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    assert list(PurchaseOrder.objects.get().lines.values_list("quantity", flat=True)) == [1]


def test_goods_that_arrive_are_remembered_with_the_message_that_closed_the_purchase_order() -> None:
    [order] = place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.get().id)])
    settle()
    received = StoredMessage.objects.get(type="purchase.GoodsReceived")
    assert OrderPurchase.objects.get().closed_by == received.pk
    assert OrderStatus.objects.get(order=order).purchase_order_id is None


def test_a_purchase_order_that_no_sales_order_waits_for_is_none_of_sales_business() -> None:
    place_orders([NewOrder(lines=lines(chair=3))])
    settle()
    before = list(OrderStatus.objects.values())
    [bought] = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("lamp"), quantity=1)])])
    receive_goods([Arrival(purchase_order_id=bought.id)])
    settle()
    assert list(OrderStatus.objects.values()) == before


def test_a_product_that_is_named_twice_is_added_up() -> None:
    [order] = place_orders([NewOrder(lines=[*lines(chair=1, desk=1), *lines(chair=2)])])
    assert sorted(order.lines.values_list("product__sku", "quantity")) == [("chair", 3), ("desk", 1)]


@pytest.mark.parametrize("quantity", [0, -1, 1_000_000_001])
def test_it_rejects_a_quantity_out_of_range(quantity: int) -> None:
    with pytest.raises(QuantityOutOfRange, match=r"from 1 to 1,000,000,000"):
        place_orders([NewOrder(lines=[ProductQuantity(product_id=product("chair"), quantity=quantity)])])


def test_it_rejects_an_order_without_lines_and_places_none_of_the_others() -> None:
    with pytest.raises(NoLines):
        place_orders([NewOrder(lines=lines(chair=1)), NewOrder(lines=[])])
    assert not SalesOrder.objects.exists()


def test_the_same_order_placed_again_under_its_id_is_one_order() -> None:
    order = NewOrder(lines=lines(chair=1))
    [first] = place_orders([order])
    [again] = place_orders([order])
    assert first == again
    assert StoredMessage.objects.filter(type="sales.SalesOrderCreated").count() == 1


def test_it_rejects_two_different_orders_under_one_id_or_reference_in_one_call() -> None:
    order = NewOrder(lines=lines(chair=1))
    with pytest.raises(OrderTaken, match="id"):
        place_orders([order, NewOrder(id=order.id, lines=lines(chair=2))])
    with pytest.raises(OrderTaken, match="reference S-1"):
        place_orders([NewOrder(reference="S-1", lines=lines(chair=1)) for _ in range(2)])
    assert not SalesOrder.objects.exists()


def test_it_rejects_another_order_under_an_id_that_is_taken() -> None:
    order = NewOrder(lines=lines(chair=1))
    place_orders([order])
    for other in (NewOrder(id=order.id, lines=lines(chair=2)), NewOrder(id=order.id, lines=lines(chair=1), customer="Grace")):
        with pytest.raises(OrderTaken, match=str(order.id)):
            place_orders([other])


def test_it_rejects_a_reference_that_is_taken_and_places_nothing() -> None:
    place_orders([NewOrder(reference="S-1", lines=lines(chair=1))])
    with pytest.raises(OrderTaken, match="reference S-1"):
        place_orders([NewOrder(reference="S-2", lines=lines(chair=1)), NewOrder(reference="S-1", lines=lines(chair=1))])
    assert SalesOrder.objects.count() == 1
    assert SalesOrderLine.objects.count() == 1


def test_a_thousand_orders_are_placed_with_a_constant_number_of_queries(django_assert_max_num_queries: object) -> None:
    wanted = lines(chair=1, desk=2)
    with django_assert_max_num_queries(40):  # type: ignore[operator]
        place_orders([NewOrder(lines=wanted) for _ in range(100)])
