from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orderflow.console.story import Story, story_of
from orderflow.messaging.consuming import drain
from orderflow.messaging.dead_letters import discard
from orderflow.messaging.models import Delivery, DeliveryState, StoredMessage
from purchase.models import PurchaseOrder
from purchase.services import Arrival, close_short, receive_goods
from sales.services import NewOrder, cancel_orders, deliver_orders, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)


def story() -> Story:
    told = story_of("S-1")
    assert told
    return told


def place(delivery: str = "automatic", **quantities: int) -> NewOrder:
    order = NewOrder(reference="S-1", customer="Ada", lines=lines(**quantities), delivery=delivery)
    place_orders([order], by="Grace")
    return order


def test_it_tells_everything_in_order() -> None:
    place(chair=3)
    settle()
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.get().id)])
    settle()
    told = story()
    assert told.title == "Sales order S-1 for Ada"
    assert [entry.what.split(" PO-")[0] for entry in told.entries] == [
        "SalesOrderCreated 3 × chair",
        "→ awaiting stock reservation, by Grace",
        "MakeReservation request 1, 3 × chair",
        "ReservationRejected request 1, missing 3 × chair",
        "→ awaiting goods received",
        "CreatePurchaseOrder",
        "GoodsReceived",
        "→ awaiting stock reservation",
        "RetryReservation request 2, in 2 s",
        "promised 3 × chair",
        "ReservationAccepted request 1",
        "→ deliverable",
        "→ delivered",
        "SalesOrderDelivered",
        "ShipReservation",
        "shipped 3 × chair",
    ]
    assert told.has_ended


def test_it_says_that_stock_has_not_answered_yet() -> None:
    place(chair=3)
    assert story().waits_for == ("Stock's answer to request 1",)


def test_it_says_how_much_is_still_to_come() -> None:
    place(chair=3)
    settle()
    purchase_order = PurchaseOrder.objects.get()
    receive_goods([Arrival(purchase_order_id=purchase_order.id, lines=lines(chair=1))])
    settle()
    assert story().waits_for == (
        f"2 × chair (1 of 3 are held), next in line: 2 on purchase order {purchase_order.reference}, bought for it, "
        f"expected {purchase_order.expected_at:%Y-%m-%d}",
    )


def test_it_tells_what_people_decided_and_why() -> None:
    order = place("manual", chair=3)
    settle()
    purchase_order = PurchaseOrder.objects.get()
    assert not story().has_ended
    close_short([purchase_order.id], by="Anna", reason="sold out")
    cancel_orders([order.id], by="Grace", reason="found it elsewhere")
    assert not story().has_ended  # Stock and Purchase have not heard of it
    settle()
    told = [entry.what for entry in story().entries]
    assert f"{purchase_order.reference} closed short: the rest will not come, by Anna: sold out" in told
    assert "→ cancelled, by Grace: found it elsewhere" in told
    assert story().has_ended


def test_it_says_that_stock_lags() -> None:
    place(chair=3)
    settle()
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.get().id)])
    drain("sales")
    [reason] = story().waits_for
    assert reason.startswith("Stock to be asked again, at ")


def test_it_says_that_a_person_is_to_deliver() -> None:
    adjust_stock([Adjustment(product_id=product("chair"), quantity=5, reason="opening")], by="Grace")
    order = place("manual", chair=3)
    settle()
    assert story().waits_for == ("a person to deliver it",)
    deliver_orders([order.id], by="Grace")
    settle()
    assert story().waits_for == ()


def test_it_names_the_dead_letter_that_holds_the_order_and_what_became_of_it() -> None:
    place(chair=3)
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    settle()
    letter = Delivery.objects.get(state=DeliveryState.DEAD)
    held = f"dead letter {letter.pk}, stock.MakeReservation on its way to stock: UndecodableMessage"
    assert story().waits_for[0].startswith(f"a person to replay or discard {held}")
    discard([letter.pk], by="Grace", reason="a test")
    assert f"letter {letter.pk}, stock.MakeReservation on its way to stock, was discarded" in story().waits_for[0]
    assert story().waits_for[0].endswith("a test")


def test_the_command_prints_it_by_reference_or_id() -> None:
    order = place(chair=3)
    for name in ("S-1", str(order.id)):
        told = StringIO()
        call_command("story", name, stdout=told)
        assert "Sales order S-1 for Ada" in told.getvalue()
        assert "waits for Stock's answer to request 1" in told.getvalue()


def test_it_rejects_an_order_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="There is no sales order nobody"):
        call_command("story", "nobody")
