"""Purchase in another system: what is asked of it there, and what it tells us."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.conf import LazySettings
from django.db import connection, transaction
from django.utils import timezone

from orderflow.catalog.quantities import NoLines
from orderflow.console.audit import audit
from orderflow.console.waiting import why_it_waits
from orderflow.messaging import subscriptions
from orderflow.messaging.consuming import ATTEMPTS, drain
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.messages import Received
from orderflow.messaging.models import Delivery, DeliveryState
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.messaging.subscriptions import Subscription
from purchase.apps import check_the_other_purchase
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder, PeggedQuantity, ReverseReceipt
from purchase.models import PurchaseOrder, Receipt, RemoteReceipt
from purchase.receiving import MoreThanOrdered, NotOnTheOrder
from purchase.services import (
    Arrival,
    KeptElsewhere,
    NewPurchaseOrder,
    NoSuchPurchaseOrder,
    PurchaseOrderEnded,
    ReceiptTaken,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    receive_goods,
    take,
)
from purchase.services.elsewhere import KeptHere, RemoteReceiptTaken, RemoteReport, take_elsewhere, take_remote_receipt
from sales.models import OrderStatus, SalesOrder
from sales.services import NewOrder, cancel_orders, place_orders
from tests.conftest import lines, product, settle

pytestmark = pytest.mark.django_db(transaction=True)


class OtherSystem:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.before_it_answers: Callable[[], object] = lambda: None
        other = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Authorization"] == "Token secret"
                other.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                other.before_it_answers()
                connection.close()  # this thread's own
                status, body = other.answers.get(self.path.split("/")[-2], (200, {}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def other(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherSystem]:
    other = OtherSystem()
    settings.ORDERFLOW_PURCHASE_URL, settings.ORDERFLOW_PURCHASE_TOKEN = other.url, "secret"
    commands = (CreatePurchaseOrder, CancelPurchaseOrder, ReverseReceipt)
    subscription = Subscription(consumer="purchase", to=commands, handle=take_elsewhere, outside=True)
    monkeypatch.setitem(subscriptions._subscriptions, "purchase", subscription)
    yield other
    other.stop()


@pytest.fixture
def later() -> Iterator[Callable[[float], None]]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller.shift


def place(**quantities: int) -> SalesOrder:
    [order] = place_orders([NewOrder(lines=lines(**quantities))])
    settle()
    return order


def state(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).state


def awaited(order: SalesOrder) -> UUID:
    purchase_order_id = OrderStatus.objects.get(order=order).purchase_order_id
    assert purchase_order_id
    return purchase_order_id


def tell(
    purchase_order_id: UUID, number: int, *, complete: bool = False, id: UUID | None = None, **arrived: int
) -> RemoteReceipt:
    report = RemoteReport(
        purchase_order_id=purchase_order_id, number=number, id=id or uuid4(), lines=lines(**arrived), complete=complete
    )
    return take_remote_receipt(report, by="relay")


def kept_elsewhere(**quantities: int) -> PurchaseOrder:
    wanted = [PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines(**quantities)]
    return create_purchase_orders([NewPurchaseOrder(lines=wanted, elsewhere=True)])[0]


def is_sound() -> bool:
    return not [check for check in audit() if check.offenders]


# -- what is asked there ----------------------------------------------------------------------------------------------------


def test_what_is_missing_is_ordered_there_under_our_own_id_and_known_here(other: OtherSystem) -> None:
    order = place(chair=2, desk=1)
    wanted = [{"sku": "chair", "quantity": 2}, {"sku": "desk", "quantity": 1}]
    assert other.asked == [("/api/purchase/orders/", {"id": str(awaited(order)), "lines": wanted})]
    mine = PurchaseOrder.objects.get()
    assert (mine.id, mine.elsewhere, mine.status) == (awaited(order), True, "open")
    assert {line.bought_for for line in mine.lines.all()} == {order.id}
    assert not Delivery.objects.filter(consumer="purchase").exists()
    assert is_sound()


def test_no_transaction_is_open_while_the_other_system_is_asked(other: OtherSystem) -> None:
    seen: list[object] = []
    # From another connection: what is known here is committed, and the delivery's attempt was counted before.
    other.before_it_answers = lambda: seen.append(
        (PurchaseOrder.objects.count(), list(Delivery.objects.filter(consumer="purchase").values_list("attempts", flat=True)))
    )
    place(chair=2)
    assert seen == [(1, [1])]


def test_while_it_is_away_nothing_is_lost_and_nothing_becomes_a_dead_letter(
    other: OtherSystem, later: Callable[[float], None]
) -> None:
    other.answers["orders"] = (503, {"detail": "closed for today"})
    order = place(chair=2)
    for _ in range(3 * ATTEMPTS):
        later(400.0)
        settle()
    [waiting] = Delivery.objects.filter(consumer="purchase")
    assert waiting.state == DeliveryState.WAITING
    assert "answered 503" in waiting.last_error
    assert is_sound()
    why = why_it_waits(str(order.id))
    assert why
    assert "purchase.CreatePurchaseOrder on its way to purchase, which failed" in why.sentence
    other.answers.clear()
    later(400.0)
    settle()
    assert not Delivery.objects.filter(consumer="purchase").exists()


def test_a_drain_does_not_run_into_a_system_that_is_away_with_every_message(other: OtherSystem) -> None:
    other.answers["orders"] = (503, {})
    place_orders([NewOrder(lines=lines(chair=1)) for _ in range(5)])
    for consumer in ("stock", "sales", "purchase"):
        drain(consumer)
    assert len(other.asked) == 1


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500])
def test_what_can_be_mended_there_is_tried_again(other: OtherSystem, later: Callable[[float], None], status: int) -> None:
    other.answers["orders"] = (status, {})
    place(chair=2)
    other.answers.clear()
    later(60.0)
    settle()
    assert len(other.asked) == 2
    assert not Delivery.objects.filter(consumer="purchase").exists()


@pytest.mark.parametrize("status", [400, 409, 422])
def test_what_it_refuses_waits_for_a_person(other: OtherSystem, status: int) -> None:
    other.answers["orders"] = (status, {"detail": "No product has the SKU chair."})
    order = place(chair=2)
    [dead] = Delivery.objects.dead()
    assert f"answered {status}" in dead.last_error
    assert "No product has the SKU chair." in dead.last_error
    why = why_it_waits(str(order.id))
    assert why
    assert "a person to replay or discard dead letter" in why.sentence


def test_it_may_be_told_twice(other: OtherSystem) -> None:
    order = place(chair=2)
    with_the_same = {"id": str(awaited(order)), "lines": [{"sku": "chair", "quantity": 2}]}
    command = CreatePurchaseOrder(
        purchase_order_id=awaited(order),
        requester_id=order.id,
        lines=(PeggedQuantity(product_id=product("chair"), quantity=2, bought_for=order.id),),
    )
    take_elsewhere([Received(id=1, message=command)])
    assert [body for _, body in other.asked] == [with_the_same, with_the_same]
    assert PurchaseOrder.objects.count() == 1


@pytest.mark.parametrize(
    ("status", "code", "becomes"),
    [
        (200, "", "cancelled"),
        (404, "no_such_purchase_order", "cancelled"),
        (409, "purchase_order_cannot_be_cancelled", "open"),
    ],
)
def test_what_is_not_needed_any_more_is_cancelled_there(other: OtherSystem, status: int, code: str, becomes: str) -> None:
    order = place(chair=2)
    bought = awaited(order)
    other.answers["cancel"] = (status, {"code": code})
    cancel_orders([order.id], by="ada")
    settle()
    path, body = other.asked[-1]
    assert path == f"/api/purchase/orders/{bought}/cancel/"
    assert body["reason"]
    assert PurchaseOrder.objects.get().status == becomes  # 409: a part has arrived, and we shall be told of it
    assert not Delivery.objects.filter(consumer="purchase").exists()


def test_a_404_of_somebody_who_knows_nothing_of_purchase_orders_cancels_nothing(other: OtherSystem) -> None:
    order = place(chair=2)
    other.answers["cancel"] = (404, {"title": "Not found"})  # a proxy, while the other system is being deployed
    cancel_orders([order.id], by="ada")
    settle()
    assert PurchaseOrder.objects.get().status == "open"
    assert "answered 404" in Delivery.objects.get(consumer="purchase").last_error


def test_what_was_ordered_before_purchase_moved_out_stays_here(other: OtherSystem) -> None:
    line = PeggedQuantity(product_id=product("chair"), quantity=2)
    [ours] = create_purchase_orders([NewPurchaseOrder(lines=[line])])
    with transaction.atomic():
        publish([Outgoing(message=CancelPurchaseOrder(purchase_order_id=ours.id, requester_id=uuid4()))])
    settle()
    ours.refresh_from_db()
    assert (ours.status, other.asked) == ("cancelled", [])


# -- what it tells us -------------------------------------------------------------------------------------------------------


def test_what_arrived_there_serves_the_order_it_was_bought_for(other: OtherSystem) -> None:
    waiting, older = place(chair=3), place(chair=1)
    told = tell(awaited(waiting), 1, complete=True, chair=3)
    settle()
    assert (told.booked, state(waiting), state(older)) == (True, "delivered", "awaiting_goods_received")
    [receipt] = Receipt.objects.all()
    assert (receipt.id, receipt.number, receipt.by) == (told.receipt_id, 1, "relay")
    assert is_sound()


def test_a_receipt_that_comes_before_its_time_is_parked_and_not_misread(other: OtherSystem) -> None:
    # Seen to fail without the numbers: the last part closes the purchase order short, and the first one is refused.
    order = place(chair=6)
    bought = awaited(order)
    third = tell(bought, 3, complete=True, chair=1)
    second = tell(bought, 2, chair=2)
    settle()
    assert (third.booked, second.booked, PurchaseOrder.objects.get().status) == (False, False, "open")
    assert tell(bought, 1, chair=3).booked
    settle()
    assert not RemoteReceipt.objects.filter(booked=False).exists()
    assert list(Receipt.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3]
    assert (state(order), PurchaseOrder.objects.get().status) == ("delivered", "received")
    assert is_sound()


def test_the_same_number_counts_once(other: OtherSystem) -> None:
    bought, receipt_id = awaited(place(chair=6)), uuid4()
    for number in (2, 1, 2, 1):
        tell(bought, number, id=receipt_id if number == 1 else UUID(int=2), chair=1)
    assert PurchaseOrder.objects.get().lines.get().received == 2
    with pytest.raises(RemoteReceiptTaken):
        tell(bought, 1, id=receipt_id, chair=2)
    with pytest.raises(RemoteReceiptTaken):
        tell(bought, 2, id=uuid4(), chair=1)
    with pytest.raises(ReceiptTaken):
        tell(bought, 3, id=receipt_id, chair=1)
    assert PurchaseOrder.objects.get().lines.get().received == 2


def test_what_will_not_come_is_bought_again(other: OtherSystem) -> None:
    short, nothing = place(chair=4), place(desk=1)
    short_id, nothing_id = awaited(short), awaited(nothing)
    tell(short_id, 1, chair=1)
    tell(short_id, 2, complete=True)
    tell(nothing_id, 1, complete=True)
    settle()
    statuses = dict(PurchaseOrder.objects.values_list("id", "status"))
    assert (statuses[short_id], statuses[nothing_id]) == ("closed_short", "cancelled")
    assert is_sound()


def test_complete_with_less_than_was_ordered_closes_it_short(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    tell(order.id, 1, complete=True, chair=1)
    order.refresh_from_db()
    assert order.status == "closed_short"


def test_as_much_as_arrived_there_has_arrived(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    tell(order.id, 1, complete=True, chair=5)  # more than is tolerated here
    settle()
    assert order.lines.get().received == 5
    assert is_sound()


def test_it_rejects_what_it_cannot_book_and_parks_nothing(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    here = create_purchase_orders([NewPurchaseOrder(lines=[PeggedQuantity(product_id=product("chair"), quantity=1)])])[0]
    with pytest.raises(NoSuchPurchaseOrder):
        tell(uuid4(), 1, chair=1)
    with pytest.raises(KeptHere):
        tell(here.id, 1, chair=1)
    with pytest.raises(NoLines):
        tell(order.id, 1)
    with pytest.raises(NotOnTheOrder):
        tell(order.id, 1, desk=1)
    with pytest.raises(MoreThanOrdered):
        tell(order.id, 1, chair=9)
    with pytest.raises(NotOnTheOrder):
        tell(order.id, 2, desk=1)  # parked, it would stand in the way of number 1
    assert not RemoteReceipt.objects.exists()


def test_what_was_parked_and_cannot_be_booked_holds_up_nothing_before_it(other: OtherSystem) -> None:
    # Seen to fail: number 1 was refused because of number 2.
    order = kept_elsewhere(chair=4)
    tell(order.id, 2, chair=9)
    assert tell(order.id, 1, chair=1).booked
    assert order.lines.get().received == 1
    assert [told.number for told in RemoteReceipt.objects.filter(booked=False)] == [2]


def test_of_what_has_ended_only_the_end_is_told_again(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    tell(order.id, 1, complete=True)
    assert tell(order.id, 1, id=RemoteReceipt.objects.get().receipt_id, complete=True).booked
    with pytest.raises(PurchaseOrderEnded):
        tell(order.id, 2, chair=1)


def test_a_receipt_may_have_the_id_of_its_purchase_order(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    tell(order.id, 1, id=order.id, chair=1)
    tell(order.id, 2, id=order.id, complete=True)
    order.refresh_from_db()
    assert order.status == "closed_short"


def test_what_was_given_up_before_it_came_is_not_ordered_there_when_its_letter_is_replayed(other: OtherSystem) -> None:
    other.answers["orders"] = (422, {"code": "unknown_sku"})
    order = place(chair=2)
    cancel_orders([order.id], by="ada")
    [dead] = Delivery.objects.dead()
    discard([dead.pk], by="ada", reason="not needed")
    other.answers = {"cancel": (404, {"code": "no_such_purchase_order"})}
    settle()
    assert PurchaseOrder.objects.get().status == "cancelled"
    replay([dead.pk], by="ada", reason="by mistake")
    settle()
    assert [path for path, _ in other.asked if path.endswith("orders/")] == ["/api/purchase/orders/"]  # the first time
    assert is_sound()


def test_once_purchase_is_here_again_what_is_kept_there_is_not_forgotten(
    other: OtherSystem, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.answers["orders"] = (503, {})
    order = place(chair=2)
    here = Subscription(consumer="purchase", to=subscriptions.subscription_of("purchase").to, handle=take)
    monkeypatch.setitem(subscriptions._subscriptions, "purchase", here)
    cancel_orders([order.id], by="ada")
    Delivery.objects.filter(consumer="purchase").update(due_at=timezone.now())
    settle()
    [dead] = Delivery.objects.dead()
    assert "is kept by another system. Set ORDERFLOW_PURCHASE_URL" in dead.last_error


def test_nobody_receives_cancels_or_closes_here_what_is_kept_there(other: OtherSystem) -> None:
    order = kept_elsewhere(chair=4)
    with pytest.raises(KeptElsewhere):
        receive_goods([Arrival(purchase_order_id=order.id)])
    with pytest.raises(KeptElsewhere):
        cancel_purchase_orders([order.id], by="ada")
    with pytest.raises(KeptElsewhere):
        close_short([order.id], by="ada")


@pytest.mark.parametrize(
    ("url", "token", "found"),
    [
        ("", "", []),
        ("https://purchase.example.com", "secret", []),
        ("https://purchase.example.com", "", ["purchase.E002"]),
        ("purchase.example.com", "secret", ["purchase.E001"]),
    ],
)
def test_settings_that_cannot_work_stop_the_start(settings: LazySettings, url: str, token: str, found: list[str]) -> None:
    settings.ORDERFLOW_PURCHASE_URL, settings.ORDERFLOW_PURCHASE_TOKEN = url, token
    assert [error.id for error in check_the_other_purchase()] == found
