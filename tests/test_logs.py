"""Logs name sales orders by reference and messages by the ids that the admin shows."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from celery.beat import SchedulingError

from orderflow.logs import drop_scheduling_tracebacks
from orderflow.messaging import subscriptions
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import ReceivedMessage
from orderflow.messaging.models import StoredMessage
from purchase.models import PurchaseOrder
from sales.models import SalesOrder
from sales.services import SalesOrderDraft, deliver_orders, place_orders
from tests.conftest import drain_all, lines
from tests.purchase.helpers import receive

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def capture_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def place_order(delivery_mode: str = "automatic") -> SalesOrder:
    draft = SalesOrderDraft(reference="S-1", lines=lines(CHAIR=1), delivery_mode=delivery_mode)
    return place_orders([draft])[0]


def message_id(name: str) -> int:
    return StoredMessage.objects.get(type=name).pk


def break_handler(monkeypatch: pytest.MonkeyPatch, consumer: str) -> None:
    def fail(batch: Sequence[ReceivedMessage]) -> None:
        raise RuntimeError("out of paper")

    broken = replace(subscriptions.subscription_of(consumer), handle=fail)
    monkeypatch.setitem(subscriptions._subscriptions, consumer, broken)


def test_status_change_names_order_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    order = place_order(delivery_mode="manual")
    drain_all()
    receive(PurchaseOrder.objects.get())
    drain_all()
    deliver_orders([order.id], actor="Ada")
    rejected = message_id("stock.ReservationRejected")
    assert (
        "Sales order S-1: awaiting_stock_reservation → awaiting_goods_received "
        f"(message {rejected})" in caplog.messages
    )
    assert "Sales order S-1: deliverable → delivered (Ada)" in caplog.messages


def test_rolled_back_status_change_is_not_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_order()
    drain("stock")
    # Fails after Sales has applied the batch.
    monkeypatch.setattr("orderflow.messaging.consuming._delete", lambda handled: 1 / 0)
    drain("sales")
    assert any("failed" in line for line in caplog.messages)
    assert not [line for line in caplog.messages if line.startswith("Sales order S-1")]


def test_failed_message_names_its_sales_order(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_order()
    break_handler(monkeypatch, "stock")
    drain("stock")
    assert (
        f"Consumer stock: message {message_id('stock.MakeReservation')} (stock.MakeReservation, "
        "S-1) failed, attempt 1 of 8: RuntimeError: out of paper" in caplog.messages
    )


def test_failed_purchase_order_event_names_its_sales_order(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_order()
    drain_all()
    receive(PurchaseOrder.objects.get())
    break_handler(monkeypatch, "sales")
    drain("sales")
    assert any("(purchase.GoodsReceived, S-1) failed" in line for line in caplog.messages)


def test_unavailable_broker_is_logged_by_beat_in_one_line() -> None:
    unavailable = beat_record(SchedulingError("refused"))
    assert drop_scheduling_tracebacks(unavailable)
    assert (unavailable.getMessage(), unavailable.exc_info) == ("Message Error: refused", None)


def test_other_error_of_beat_keeps_its_traceback() -> None:
    record = beat_record(TypeError("unsupported type"))
    assert drop_scheduling_tracebacks(record)
    assert record.exc_info


def beat_record(error: Exception) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__)
    return logging.LogRecord(
        "celery.beat", logging.ERROR, __file__, 1, "Message Error: %s\n%s", (error, "stack"), info
    )
