from uuid import uuid4

import pytest

from orderflow.catalog.quantities import NoLines
from orderflow.messaging.models import StoredMessage
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from purchase.receiving import MoreThanOrdered, NothingOutstanding
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    NoSuchPurchaseOrder,
    PurchaseOrderTaken,
    ReceiptTaken,
    create_purchase_orders,
    receive_goods,
)
from tests.conftest import lines, product

pytestmark = pytest.mark.django_db(transaction=True)


def ordered(**quantities: int) -> PurchaseOrder:
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged(**quantities))])
    return order


def pegged(**quantities: int) -> list[PeggedQuantity]:
    return [PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines(**quantities)]


def received(order: PurchaseOrder) -> dict[str, int]:
    return dict(PurchaseOrderLine.objects.filter(order=order).values_list("product__sku", "received"))


def status(order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=order.id).status


def test_goods_arrive_in_parts() -> None:
    order = ordered(chair=5, desk=1)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2))])
    assert (status(order), received(order)) == ("partially_received", {"chair": 2, "desk": 0})
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 5, "desk": 1})
    said = StoredMessage.objects.filter(type="purchase.GoodsReceived").order_by("id")
    assert [row.payload["complete"] for row in said] == [False, True]


def test_a_receipt_that_is_reported_twice_counts_once() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=2))
    [first] = receive_goods([arrival])
    [again] = receive_goods([arrival])
    assert first == again
    assert received(order) == {"chair": 2}
    assert StoredMessage.objects.filter(type="purchase.GoodsReceived").count() == 1


def test_a_receipt_that_is_named_twice_in_one_call_counts_once() -> None:
    arrival = Arrival(purchase_order_id=(order := ordered(chair=5)).id, lines=lines(chair=2))
    first, again = receive_goods([arrival, arrival])
    assert first == again
    assert received(order) == {"chair": 2}


def test_a_receipt_of_everything_that_is_reported_twice_counts_once() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id)
    receive_goods([arrival])
    receive_goods([arrival])
    assert received(order) == {"chair": 5}


def test_it_rejects_another_receipt_under_an_id_that_is_taken() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=2))
    receive_goods([arrival])
    with pytest.raises(ReceiptTaken):
        receive_goods([Arrival(id=arrival.id, purchase_order_id=order.id, lines=lines(chair=3))])
    with pytest.raises(ReceiptTaken):
        receive_goods([Arrival(id=arrival.id, purchase_order_id=ordered(chair=2).id, lines=lines(chair=2))])


def test_it_rejects_more_than_was_ordered_and_receives_nothing_of_the_others() -> None:
    order, other = ordered(chair=5), ordered(desk=1)
    with pytest.raises(MoreThanOrdered, match="only 5 × chair are still to come, not 6"):
        receive_goods([Arrival(purchase_order_id=other.id), Arrival(purchase_order_id=order.id, lines=lines(chair=6))])
    assert received(other) == {"desk": 0}
    assert not Receipt.objects.exists()


def test_it_rejects_goods_for_a_complete_order() -> None:
    order = ordered(chair=5)
    receive_goods([Arrival(purchase_order_id=order.id)])
    with pytest.raises(NothingOutstanding, match="is complete"):
        receive_goods([Arrival(purchase_order_id=order.id)])


def test_it_rejects_goods_for_an_order_that_does_not_exist() -> None:
    with pytest.raises(NoSuchPurchaseOrder):
        receive_goods([Arrival(purchase_order_id=uuid4())])


def test_it_rejects_a_receipt_of_nothing() -> None:
    with pytest.raises(NoLines):
        receive_goods([Arrival(purchase_order_id=ordered(chair=1).id, lines=[])])


def test_two_receipts_of_one_order_in_one_call_follow_each_other() -> None:
    order = ordered(chair=5)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2)), Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 5})


def test_the_same_purchase_order_under_its_id_is_one() -> None:
    order = NewPurchaseOrder(lines=pegged(chair=5))
    create_purchase_orders([order])
    create_purchase_orders([order])
    assert PurchaseOrder.objects.count() == 1


def test_it_rejects_another_purchase_order_under_an_id_or_a_reference_that_is_taken() -> None:
    order = NewPurchaseOrder(lines=pegged(chair=5), reference="P-1")
    create_purchase_orders([order])
    with pytest.raises(PurchaseOrderTaken, match="id"):
        create_purchase_orders([NewPurchaseOrder(id=order.id, lines=pegged(chair=6))])
    with pytest.raises(PurchaseOrderTaken, match="reference"):
        create_purchase_orders([NewPurchaseOrder(lines=pegged(chair=6), reference="P-1")])


def test_goods_of_one_product_keep_their_pegs() -> None:
    mine, yours = uuid4(), uuid4()
    chair = product("chair")
    pegs = [PeggedQuantity(product_id=chair, quantity=2, bought_for=each) for each in (mine, yours)]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegs)])
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=3))])
    said = StoredMessage.objects.get(type="purchase.GoodsReceived").payload["lines"]
    assert [(line["bought_for"], line["quantity"]) for line in said] == [(str(mine), 2), (str(yours), 1)]
