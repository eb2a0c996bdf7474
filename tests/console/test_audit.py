"""The audit is quiet while all is well, at any moment; and each of its claims is seen to fail when it is untrue."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from orderflow.console.audit import audit
from orderflow.database import snapshot
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import Delivery, DeliveryState, StoredMessage
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services import Arrival, close_short, receive_goods
from sales.models import OrderPurchase, OrderPurchaseLine, OrderStatus, OrderStatusChange, SalesOrder
from sales.services import NewOrder, cancel_orders, change_order, place_orders
from stock.models import Balance, Reservation, ReservationLine, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)


def wrong() -> list[str]:
    return [check.claim for check in audit() if check.offenders]


@pytest.fixture
def shop() -> dict[str, UUID]:
    """One order delivered, one that may be, one cancelled, and two that wait for their goods."""
    adjust_stock([Adjustment(product_id=product("chair"), quantity=9, reason="opening")], by="Ada")
    orders = [
        NewOrder(reference="delivered", lines=lines(chair=2)),
        NewOrder(reference="deliverable", lines=lines(chair=2), delivery="manual"),
        NewOrder(reference="cancelled", lines=lines(chair=1), delivery="manual"),
        NewOrder(reference="waiting", lines=lines(desk=3)),
        NewOrder(reference="waiting too", lines=lines(desk=3)),
    ]
    place_orders(orders)
    settle()
    cancel_orders([orders[2].id], by="Ada")
    settle()
    return {order.reference: order.id for order in orders}


def test_it_is_quiet_after_every_step(shop: dict[str, UUID]) -> None:
    assert wrong() == []
    place_orders([NewOrder(lines=lines(lamp=1))])
    assert wrong() == []
    for consumer in ("stock", "sales", "purchase", "stock", "sales"):
        drain(consumer, batch=1)
        assert wrong() == []
    short, *others = PurchaseOrder.objects.open()
    [receipt] = receive_goods([Arrival(purchase_order_id=short.id, lines=lines(desk=1))])
    assert wrong() == []
    close_short([short.id], by="Ada")
    assert wrong() == []
    receive_goods([Arrival(purchase_order_id=each.id) for each in others])
    assert wrong() == []
    drain("sales")  # before Stock has heard of it
    assert wrong() == []
    change_order(shop["deliverable"], lines(chair=1, lamp=1), by="Ada")
    assert wrong() == []
    cancel_orders([shop["waiting"]], by="Ada")
    assert wrong() == []
    settle()
    assert wrong() == []
    desk = receipt.lines.get().line.product_id
    reverse_receipt(Reversal(receipt_id=receipt.id, product_id=desk, quantity=1, reason="miscounted"), by="Ada")
    assert wrong() == []
    settle()
    assert wrong() == []


def status(name: str) -> Callable[[dict[str, UUID]], OrderStatus]:
    return lambda shop: OrderStatus.objects.get(order=shop[name])


def _forget_status(shop: dict[str, UUID]) -> None:
    OrderStatus.objects.filter(order=shop["delivered"]).delete()


def _forget_history(shop: dict[str, UUID]) -> None:
    OrderStatusChange.objects.filter(status=shop["delivered"]).delete()


def _swap_purchases(shop: dict[str, UUID]) -> None:
    first, second = OrderPurchase.objects.all()
    OrderStatus.objects.filter(order=first.status_id).update(purchase_order_id=uuid4())
    OrderStatus.objects.filter(order=second.status_id).update(purchase_order_id=first.purchase_order_id)
    OrderStatus.objects.filter(order=first.status_id).update(purchase_order_id=second.purchase_order_id)


def _reserve_too_much(shop: dict[str, UUID]) -> None:
    Balance.objects.filter(product=product("chair")).update(reserved=3)


def _lose_a_movement(shop: dict[str, UUID]) -> None:
    StockMovement.objects.filter(kind="adjusted").delete()


def _lose_a_promise(shop: dict[str, UUID]) -> None:
    ReservationLine.objects.filter(reservation=shop["deliverable"]).update(held=1)


def _keep_goods_back(shop: dict[str, UUID]) -> None:
    balance = Balance.objects.get(product=product("desk"))
    balance.on_hand = 3
    balance.save()


def _wait_for_nothing(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["deliverable"]).update(status="waiting")


def _invent_a_receipt(shop: dict[str, UUID]) -> None:
    PurchaseOrderLine.objects.update(received=1)


def _ship_unasked(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["deliverable"]).update(status="shipped")


def _forget_shipping(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["delivered"]).update(status="accepted")


def _hold_for_the_cancelled(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["cancelled"]).update(status="accepted")


def _release_unasked(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["waiting"]).update(status="released")


def _release_and_keep(shop: dict[str, UUID]) -> None:
    ReservationLine.objects.filter(reservation=shop["cancelled"]).update(held=1)


def _cancel_what_arrived(shop: dict[str, UUID]) -> None:
    PurchaseOrderLine.objects.update(received=1)
    PurchaseOrder.objects.update(status="cancelled")


def _buy_what_is_on_order(shop: dict[str, UUID]) -> None:
    """The answer to another question has the same missing, and what is on order is bought once more."""
    bought = StoredMessage.objects.filter(type="purchase.CreatePurchaseOrder").select_related("caused_by").earliest("id")
    answer = bought.caused_by
    assert answer
    answer.pk = bought.pk = None
    answer.save()
    bought.payload = {**bought.payload, "purchase_order_id": str(uuid4())}
    bought.caused_by = answer
    bought.save()


def _order_too_little(shop: dict[str, UUID]) -> None:
    OrderPurchaseLine.objects.update(quantity=2)


def _buy_twice_and_receive_the_first(shop: dict[str, UUID]) -> None:
    """As `_buy_what_is_on_order`, and what was on order then has arrived since."""
    _buy_what_is_on_order(shop)
    receive_goods([Arrival(purchase_order_id=each.id) for each in PurchaseOrder.objects.open()])
    settle()


def _promise_to_nobody(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["deliverable"]).update(status="waiting")


def _lose_a_promise_in_the_ledger(shop: dict[str, UUID]) -> None:
    StockMovement.objects.filter(kind="promised").delete()


def _forget_acceptance(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["waiting"]).update(status="accepted")


def _forget_the_question(shop: dict[str, UUID]) -> None:
    place_orders([NewOrder(lines=lines(lamp=1))])
    Delivery.objects.all().delete()


def _lose_a_reservation(shop: dict[str, UUID]) -> None:
    Reservation.objects.filter(id=shop["waiting"]).delete()


def _reserve_another_quantity(shop: dict[str, UUID]) -> None:
    ReservationLine.objects.filter(reservation=shop["waiting"]).update(quantity=4)


def _lose_the_purchase_order(shop: dict[str, UUID]) -> None:
    PurchaseOrder.objects.all().delete()


def _lose_goods_received(shop: dict[str, UUID]) -> None:
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.first().id)])  # type: ignore[union-attr]
    Delivery.objects.all().delete()


def _discard_goods_received(shop: dict[str, UUID]) -> None:
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.first().id)])  # type: ignore[union-attr]
    Delivery.objects.filter(consumer="stock").update(state=DeliveryState.DISCARDED)


def _buy_twice(shop: dict[str, UUID]) -> None:
    bought = StoredMessage.objects.filter(type="purchase.CreatePurchaseOrder").first()
    assert bought
    bought.pk = None
    bought.save()


def _order_more(shop: dict[str, UUID]) -> None:
    PurchaseOrderLine.objects.update(quantity=4)


def _leave_a_dead_letter(shop: dict[str, UUID]) -> None:
    message = StoredMessage.objects.latest("id")
    Delivery.objects.create(
        consumer="sales", message=message, key=uuid4(), due_at=timezone.now(), state=DeliveryState.DEAD, last_error="planted"
    )


FAULTS: dict[str, tuple[Callable[[dict[str, UUID]], None], str]] = {
    "an order lost its status": (_forget_status, "every sales order has a status"),
    "a status lost its history": (_forget_history, "a status is where its history ends"),
    "two orders wait for each other's goods": (_swap_purchases, "who awaits goods waits for a purchase order of its own"),
    "more is reserved than is held": (_reserve_too_much, "reserved is what the reservations hold"),
    "the ledger lost a row": (_lose_a_movement, "on hand is the sum of the ledger"),
    "an accepted order lost a promise": (_lose_a_promise, "an accepted reservation holds all of it"),
    "goods are kept from who waits": (_keep_goods_back, "nobody waits for what is there"),
    "an order waits for nothing": (_wait_for_nothing, "who waits lacks something"),
    "a receipt was never reported": (_invent_a_receipt, "what a line received is the sum of its receipts"),
    "a status does not fit": (_invent_a_receipt, "a purchase order's status fits its lines"),
    "goods left without an order": (_ship_unasked, "nothing was shipped that is not delivered"),
    "goods never left": (_forget_shipping, "what is delivered was shipped"),
    "Sales does not know": (_forget_acceptance, "Sales knows what Stock promised"),
    "a question was lost": (_forget_the_question, "who awaits Stock's answer will be answered"),
    "a reservation was lost": (_lose_a_reservation, "every order is reserved as it was ordered"),
    "another quantity is reserved": (_reserve_another_quantity, "every order is reserved as it was ordered"),
    "a purchase order was lost": (_lose_the_purchase_order, "who awaits goods has them on order"),
    "goods received were lost": (_lose_goods_received, "what Purchase received is what Stock booked"),
    "goods received were discarded": (_discard_goods_received, "what Purchase received is what Stock booked"),
    "a closed purchase is thought open": (_lose_goods_received, "whose purchase order is closed knows it"),
    "one shortage was bought twice": (_buy_twice, "never more was bought than Stock said was missing"),
    "more was ordered than was asked for": (_order_more, "every automatic purchase order was asked for"),
    "the cancelled hold goods": (_hold_for_the_cancelled, "nothing is held for what was cancelled"),
    "goods were released that are wanted": (_release_unasked, "nothing was released that is not cancelled"),
    "the released hold goods": (_release_and_keep, "who was released holds nothing"),
    "what arrived was cancelled": (_cancel_what_arrived, "a purchase order's status fits its lines"),
    "what is on order was bought": (_buy_what_is_on_order, "never more was bought than Stock said was missing"),
    "it was received after that": (_buy_twice_and_receive_the_first, "never more was bought than Stock said was missing"),
    "too little was ordered": (_order_too_little, "whatever is missing for who awaits goods is on order for it"),
    "a deliverable order is promised nothing": (_promise_to_nobody, "what is deliverable is promised by Stock"),
    "the ledger lost a promise": (_lose_a_promise_in_the_ledger, "reserved is the sum of the ledger"),
    "a dead letter": (_leave_a_dead_letter, "no dead letter waits for a person"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(shop: dict[str, UUID], fault: str) -> None:
    plant, claim = FAULTS[fault]
    plant(shop)
    assert any(found.startswith(claim) for found in wrong())


def test_the_command_exits_with_1_and_shows_the_rows(shop: dict[str, UUID], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit")
    assert "none wrong" in capsys.readouterr().out
    _reserve_too_much(shop)
    with pytest.raises(SystemExit) as ended:
        call_command("audit")
    assert ended.value.code == 1
    told = capsys.readouterr().out
    assert "WRONG reserved is what the reservations hold\n        chair: 7 on hand, 3 reserved" in told


def test_it_reads_one_snapshot_and_can_write_nothing(shop: dict[str, UUID]) -> None:
    with pytest.raises(Exception, match=r"read-only|readonly"), snapshot():
        SalesOrder.objects.update(customer="nobody")
    assert not connection.in_atomic_block
    SalesOrder.objects.update(customer="somebody")
