"""External purchasing: commands to the external system, and the receipts that it reports."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.core.quantities import LinesRequired
from orderflow.messaging import subscriptions
from orderflow.messaging.consuming import MAX_ATTEMPTS, drain
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.messages import ReceivedMessage
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus
from orderflow.messaging.publishing import OutgoingMessage, publish
from orderflow.messaging.subscriptions import Subscription
from orderflow.operations.audit import audit
from orderflow.operations.explanation import explain
from purchase.apps import check_external_purchase_settings
from purchase.contract import (
    CreatePurchaseOrder,
    PeggedQuantity,
    ReverseReceipt,
    WithdrawPurchaseOrder,
)
from purchase.lifecycle import ProductNotOrdered, QuantityExceedsOrdered
from purchase.models import ExternalReceipt, PurchaseOrder, Receipt
from purchase.services import (
    PurchaseOrderClosed,
    PurchaseOrderIsExternal,
    PurchaseOrderNotFound,
    ReceiptAlreadyExists,
    cancel_purchase_orders,
    close_short,
    handle_messages,
)
from purchase.services.external import (
    ExternalReceiptAlreadyExists,
    ExternalReceiptDraft,
    PurchaseOrderIsNotExternal,
    handle_external_messages,
    receive_external,
)
from sales.models import OrderStatus, SalesOrder
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from tests.conftest import drain_all, lines, product
from tests.purchase.helpers import purchase_order, receive, status

pytestmark = pytest.mark.django_db(transaction=True)

CREATE_PATH = "/api/v1/purchase/orders/"


@dataclass
class ExternalSystem:
    """Records requests, and responds as `responses` says: status and body by end of the path."""

    requests: list[tuple[str, Any]] = field(default_factory=list)
    responses: dict[str, tuple[int, Any]] = field(default_factory=dict)
    before_response: Callable[[], object] = lambda: None
    url: str = ""


@contextmanager
def http_server(system: ExternalSystem) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Authorization"] == "Token secret"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            system.requests.append((self.path, body))
            system.before_response()
            connection.close()  # of this thread
            http_status, body = system.responses.get(self.path.split("/")[-2], (200, {}))
            self.send_response(http_status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    system.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def external_system(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExternalSystem]:
    """Purchase sends its commands to this external system."""
    system = ExternalSystem()
    with http_server(system):
        settings.ORDERFLOW_EXTERNAL_PURCHASE_URL = system.url
        settings.ORDERFLOW_EXTERNAL_PURCHASE_TOKEN = "secret"
        subscription = Subscription(
            consumer="purchase",
            to=(CreatePurchaseOrder, WithdrawPurchaseOrder, ReverseReceipt),
            handle=handle_external_messages,
            transactional=False,
        )
        monkeypatch.setitem(subscriptions._subscriptions, "purchase", subscription)
        yield system


@pytest.fixture
def advance_clock() -> Iterator[Callable[[float], None]]:
    """Advance the clock by some seconds."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller.shift


def place(**quantities: int) -> SalesOrder:
    [order] = place_orders([SalesOrderDraft(lines=lines(**quantities))])
    drain_all()
    return order


def order_status(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).status


def awaited(order: SalesOrder) -> UUID:
    """Return the id of the purchase order that the sales order awaits."""
    purchase_order_id = OrderStatus.objects.get(order=order).purchase_order_id
    assert purchase_order_id
    return purchase_order_id


def report(
    purchase_order_id: UUID,
    sequence_number: int,
    *,
    receipt_id: UUID | None = None,
    final: bool = False,
    **quantities: int,
) -> ExternalReceipt:
    """Report a receipt as the external system does."""
    draft = ExternalReceiptDraft(
        purchase_order_id=purchase_order_id,
        sequence_number=sequence_number,
        id=receipt_id or uuid4(),
        lines=lines(**quantities),
        final=final,
    )
    return receive_external(draft, actor="relay")


def queued_for_purchase() -> list[QueuedMessage]:
    return list(QueuedMessage.objects.filter(consumer="purchase"))


def summary_of(order: SalesOrder) -> str:
    explanation = explain(str(order.id))
    assert explanation
    return explanation.summary


def assert_invariants() -> None:
    assert [check for check in audit() if check.violations] == []


# -- commands to the external system -------------------------------------------------------------


def test_shortage_is_ordered_externally_and_stored_here(external_system: ExternalSystem) -> None:
    order = place(chair=2, desk=1)
    ordered = [{"sku": "chair", "quantity": 2}, {"sku": "desk", "quantity": 1}]
    body = {"id": str(awaited(order)), "lines": ordered}
    assert external_system.requests == [(CREATE_PATH, body)]
    stored = PurchaseOrder.objects.get()
    assert (stored.id, stored.external, stored.status) == (awaited(order), True, "open")
    assert {line.pegged_to for line in stored.lines.all()} == {order.id}
    assert queued_for_purchase() == []
    assert_invariants()


def test_request_is_sent_outside_transaction(external_system: ExternalSystem) -> None:
    seen: list[object] = []

    def read_from_another_connection() -> None:
        attempts = [queued.attempts for queued in queued_for_purchase()]
        seen.append((PurchaseOrder.objects.count(), attempts))

    external_system.before_response = read_from_another_connection
    place(chair=2)
    # The purchase order and the attempt were committed before the request.
    assert seen == [(1, [1])]


def test_outage_makes_no_dead_letter(
    external_system: ExternalSystem, advance_clock: Callable[[float], None]
) -> None:
    external_system.responses["orders"] = (503, {"detail": "maintenance"})
    order = place(chair=2)
    for _ in range(3 * MAX_ATTEMPTS):
        advance_clock(400.0)
        drain_all()
    [queued] = queued_for_purchase()
    assert queued.status == QueuedMessageStatus.PENDING
    assert "returned status 503" in queued.last_error
    assert_invariants()
    assert "(purchase.CreatePurchaseOrder to purchase) failed" in summary_of(order)
    external_system.responses.clear()
    advance_clock(400.0)
    drain_all()
    assert queued_for_purchase() == []


def test_drain_stops_after_first_failed_request(external_system: ExternalSystem) -> None:
    external_system.responses["orders"] = (503, {})
    place_orders([SalesOrderDraft(lines=lines(chair=1)) for _ in range(5)])
    for consumer in ("stock", "sales", "purchase"):
        drain(consumer)
    assert len(external_system.requests) == 1


@pytest.mark.parametrize("http_status", [301, 401, 403, 404, 429, 500])
def test_repairable_failure_is_retried(
    external_system: ExternalSystem, advance_clock: Callable[[float], None], http_status: int
) -> None:
    external_system.responses["orders"] = (http_status, {})
    place(chair=2)
    external_system.responses.clear()
    advance_clock(60.0)
    drain_all()
    assert len(external_system.requests) == 2
    assert queued_for_purchase() == []


@pytest.mark.parametrize("http_status", [400, 409, 422])
def test_rejection_becomes_dead_letter(external_system: ExternalSystem, http_status: int) -> None:
    external_system.responses["orders"] = (http_status, {"detail": "No product has this SKU."})
    order = place(chair=2)
    [dead_letter] = QueuedMessage.objects.dead_letters()
    assert f"returned status {http_status}" in dead_letter.last_error
    assert "No product has this SKU." in dead_letter.last_error
    assert "dead letter" in summary_of(order)
    assert "must be replayed or discarded" in summary_of(order)


def test_command_may_be_sent_twice(external_system: ExternalSystem) -> None:
    order = place(chair=2)
    command = CreatePurchaseOrder(
        purchase_order_id=awaited(order),
        requester_id=order.id,
        lines=(PeggedQuantity(product_id=product("chair"), quantity=2, pegged_to=order.id),),
    )
    handle_external_messages([ReceivedMessage(id=1, message=command)])
    body = {"id": str(awaited(order)), "lines": [{"sku": "chair", "quantity": 2}]}
    assert external_system.requests == [(CREATE_PATH, body), (CREATE_PATH, body)]
    assert PurchaseOrder.objects.count() == 1


@pytest.mark.parametrize(
    ("http_status", "code", "expected"),
    [
        (200, "", "cancelled"),
        (404, "purchase_order_not_found", "cancelled"),
        # Something was received there; a report will follow.
        (409, "purchase_order_cannot_be_cancelled", "open"),
    ],
)
def test_withdrawal_is_sent_and_its_result_applied(
    external_system: ExternalSystem, http_status: int, code: str, expected: str
) -> None:
    order = place(chair=2)
    withdrawn = awaited(order)
    external_system.responses["cancel"] = (http_status, {"code": code})
    cancel_orders([order.id], actor="ada")
    drain_all()
    path, body = external_system.requests[-1]
    assert path == f"/api/v1/purchase/orders/{withdrawn}/cancel/"
    assert body == {"reason": "Sales no longer needs this purchase order."}
    assert PurchaseOrder.objects.get().status == expected
    assert queued_for_purchase() == []


def test_foreign_404_does_not_cancel(external_system: ExternalSystem) -> None:
    order = place(chair=2)
    # The response of a proxy, not of the external system.
    external_system.responses["cancel"] = (404, {"title": "Not found"})
    cancel_orders([order.id], actor="ada")
    drain_all()
    assert PurchaseOrder.objects.get().status == "open"
    [queued] = queued_for_purchase()
    assert "returned status 404" in queued.last_error


def test_local_order_is_withdrawn_without_request(external_system: ExternalSystem) -> None:
    local = purchase_order(chair=2)
    command = WithdrawPurchaseOrder(purchase_order_id=local.id, requester_id=uuid4())
    with transaction.atomic():
        publish([OutgoingMessage(message=command)])
    drain_all()
    assert status(local) == "cancelled"
    assert external_system.requests == []


def test_replayed_creation_of_withdrawn_order_is_not_sent(
    external_system: ExternalSystem,
) -> None:
    external_system.responses["orders"] = (422, {"code": "unknown_sku"})
    order = place(chair=2)
    cancel_orders([order.id], actor="ada")
    [dead_letter] = QueuedMessage.objects.dead_letters()
    discard([dead_letter.pk], actor="ada", reason="not needed")
    external_system.responses = {"cancel": (404, {"code": "purchase_order_not_found"})}
    drain_all()
    assert PurchaseOrder.objects.get().status == "cancelled"
    replay([dead_letter.pk], actor="ada", reason="by mistake")
    drain_all()
    creations = [path for path, _ in external_system.requests if path == CREATE_PATH]
    assert creations == [CREATE_PATH]  # only the rejected one
    assert_invariants()


def test_missing_setting_makes_external_command_dead_letter(
    external_system: ExternalSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    external_system.responses["orders"] = (503, {})
    order = place(chair=2)
    local = Subscription(
        consumer="purchase",
        to=subscriptions.subscription_of("purchase").to,
        handle=handle_messages,
    )
    monkeypatch.setitem(subscriptions._subscriptions, "purchase", local)
    cancel_orders([order.id], actor="ada")
    QueuedMessage.objects.filter(consumer="purchase").update(due_at=timezone.now())
    drain_all()
    [dead_letter] = QueuedMessage.objects.dead_letters()
    assert "is managed by an external system" in dead_letter.last_error
    assert "ORDERFLOW_EXTERNAL_PURCHASE_URL is not set" in dead_letter.last_error


# -- reports of the external system --------------------------------------------------------------


def test_external_receipt_is_allocated_to_pegged_reservation(
    external_system: ExternalSystem,
) -> None:
    pegged_order, other_order = place(chair=3), place(chair=1)
    reported = report(awaited(pegged_order), 1, final=True, chair=3)
    drain_all()
    assert reported.applied
    assert order_status(pegged_order) == "delivered"
    assert order_status(other_order) == "awaiting_goods_received"
    recorded = Receipt.objects.get()
    assert (recorded.id, recorded.sequence_number) == (reported.receipt_id, 1)
    assert recorded.actor == "relay"
    assert_invariants()


def test_out_of_order_receipt_is_buffered(external_system: ExternalSystem) -> None:
    # Fails without sequence numbers: the final receipt closes the purchase order short, and the
    # first receipt is rejected.
    order = place(chair=6)
    purchase_order_id = awaited(order)
    third = report(purchase_order_id, 3, final=True, chair=1)
    second = report(purchase_order_id, 2, chair=2)
    drain_all()
    assert (third.applied, second.applied) == (False, False)
    assert PurchaseOrder.objects.get().status == "open"
    assert report(purchase_order_id, 1, chair=3).applied
    drain_all()
    assert not ExternalReceipt.objects.filter(applied=False).exists()
    recorded = Receipt.objects.order_by("sequence_number")
    assert [each.sequence_number for each in recorded] == [1, 2, 3]
    assert (order_status(order), PurchaseOrder.objects.get().status) == ("delivered", "received")
    assert_invariants()


def test_repeated_sequence_number_is_recorded_once(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=6)
    first, second = uuid4(), uuid4()
    for _ in range(2):
        report(order.id, 2, receipt_id=second, chair=1)
        report(order.id, 1, receipt_id=first, chair=1)
    assert order.lines.get().received == 2
    with pytest.raises(ExternalReceiptAlreadyExists):
        report(order.id, 1, receipt_id=first, chair=2)
    with pytest.raises(ExternalReceiptAlreadyExists):
        report(order.id, 2, receipt_id=uuid4(), chair=1)
    with pytest.raises(ReceiptAlreadyExists):
        report(order.id, 3, receipt_id=first, chair=1)
    assert order.lines.get().received == 2


def test_final_report_without_goods_closes_purchase_order(
    external_system: ExternalSystem,
) -> None:
    short, cancelled = awaited(place(chair=4)), awaited(place(desk=1))
    report(short, 1, chair=1)
    report(short, 2, final=True)
    report(cancelled, 1, final=True)
    drain_all()
    statuses = dict(PurchaseOrder.objects.values_list("id", "status"))
    assert (statuses[short], statuses[cancelled]) == ("closed_short", "cancelled")
    assert_invariants()


def test_final_partial_receipt_closes_short(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=4)
    report(order.id, 1, final=True, chair=1)
    assert status(order) == "closed_short"


def test_external_over_receipt_ignores_local_tolerance(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=4)
    report(order.id, 1, final=True, chair=5)
    drain_all()
    assert order.lines.get().received == 5
    assert_invariants()


def test_rejected_report_is_not_buffered(external_system: ExternalSystem) -> None:
    order, local = purchase_order(external=True, chair=4), purchase_order(chair=1)
    with pytest.raises(PurchaseOrderNotFound):
        report(uuid4(), 1, chair=1)
    with pytest.raises(PurchaseOrderIsNotExternal):
        report(local.id, 1, chair=1)
    with pytest.raises(LinesRequired):
        report(order.id, 1)
    with pytest.raises(ProductNotOrdered):
        report(order.id, 1, desk=1)
    with pytest.raises(QuantityExceedsOrdered):
        report(order.id, 1, chair=9)
    # Number 2 would be buffered, and would then block number 1.
    with pytest.raises(ProductNotOrdered):
        report(order.id, 2, desk=1)
    assert not ExternalReceipt.objects.exists()


def test_invalid_buffered_receipt_does_not_block_earlier_one(
    external_system: ExternalSystem,
) -> None:
    # Fails if an error of a buffered receipt rejects the receipt that is reported.
    order = purchase_order(external=True, chair=4)
    report(order.id, 2, chair=9)
    assert report(order.id, 1, chair=1).applied
    assert order.lines.get().received == 1
    assert ExternalReceipt.objects.get(applied=False).sequence_number == 2


def test_rejects_new_receipt_of_closed_external_order(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=4)
    final = report(order.id, 1, final=True)
    assert report(order.id, 1, receipt_id=final.receipt_id, final=True).applied
    with pytest.raises(PurchaseOrderClosed):
        report(order.id, 2, chair=1)


def test_receipt_may_have_id_of_its_purchase_order(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=4)
    report(order.id, 1, receipt_id=order.id, chair=1)
    report(order.id, 2, receipt_id=order.id, final=True)
    assert status(order) == "closed_short"


# -- local actions and settings ------------------------------------------------------------------


def test_external_purchase_orders_reject_local_actions(external_system: ExternalSystem) -> None:
    order = purchase_order(external=True, chair=4)
    with pytest.raises(PurchaseOrderIsExternal):
        receive(order)
    with pytest.raises(PurchaseOrderIsExternal):
        cancel_purchase_orders([order.id], actor="ada")
    with pytest.raises(PurchaseOrderIsExternal):
        close_short([order.id], actor="ada")


@pytest.mark.parametrize(
    ("url", "token", "errors"),
    [
        ("", "", []),
        ("https://purchase.example.com", "secret", []),
        ("https://purchase.example.com", "", ["purchase.E002"]),
        ("purchase.example.com", "secret", ["purchase.E001"]),
    ],
)
def test_settings_check_finds_invalid_url_and_missing_token(
    settings: Settings, url: str, token: str, errors: list[str]
) -> None:
    settings.ORDERFLOW_EXTERNAL_PURCHASE_URL = url
    settings.ORDERFLOW_EXTERNAL_PURCHASE_TOKEN = token
    assert [error.id for error in check_external_purchase_settings()] == errors
