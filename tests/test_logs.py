"""Logs speak of orders by the names that people know, and of messages by the numbers that the admin shows."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from celery.beat import SchedulingError

from orderflow.logs import without_traceback
from orderflow.messaging import subscriptions
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Received
from orderflow.messaging.models import StoredMessage
from purchase.models import PurchaseOrder
from purchase.services import Arrival, receive_goods
from sales.models import SalesOrder
from sales.services import NewOrder, deliver_orders, place_orders
from tests.conftest import lines, settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def _place(delivery: str = "automatic") -> SalesOrder:
    [order] = place_orders([NewOrder(reference="S-1", lines=lines(CHAIR=1), delivery=delivery)])
    return order


def _clumsy(monkeypatch: pytest.MonkeyPatch, consumer: str) -> None:
    def fail(batch: Sequence[Received]) -> None:
        raise RuntimeError("out of paper")

    clumsy = replace(subscriptions.subscription_of(consumer), handle=fail)
    monkeypatch.setitem(subscriptions._subscriptions, consumer, clumsy)


def test_each_step_of_an_order_names_it_and_the_message_that_moved_it(caplog: pytest.LogCaptureFixture) -> None:
    order = _place(delivery="manual")
    settle()
    receive_goods([Arrival(purchase_order_id=each.pk) for each in PurchaseOrder.objects.all()])
    settle()
    deliver_orders([order.id], by="Ada")
    rejected = StoredMessage.objects.get(type="stock.ReservationRejected").pk
    assert f"S-1: awaiting_stock_reservation, then awaiting_goods_received (message {rejected})" in caplog.messages
    assert "S-1: deliverable, then delivered (Ada)" in caplog.messages


def test_what_was_rolled_back_is_not_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    _place()
    drain("stock")
    monkeypatch.setattr("orderflow.messaging.consuming._delete", lambda handled: 1 / 0)  # after all that Sales does
    drain("sales")
    assert not [line for line in caplog.messages if line.startswith("S-1: awaiting")]


def test_a_message_that_fails_is_named_with_the_sales_order_that_it_is_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _place()
    asked = StoredMessage.objects.get(type="stock.MakeReservation").pk
    with monkeypatch.context() as patch:
        _clumsy(patch, "stock")
        drain("stock")
    line = f"stock.MakeReservation {asked} to stock, about S-1, failed, attempt 1: RuntimeError: out of paper"
    assert line in caplog.messages


def test_a_message_about_a_purchase_order_is_named_with_the_sales_order_it_was_bought_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _place()
    settle()
    receive_goods([Arrival(purchase_order_id=PurchaseOrder.objects.get().pk)])
    _clumsy(monkeypatch, "sales")
    drain("sales")
    assert any("purchase.GoodsReceived" in line and "about S-1, failed" in line for line in caplog.messages)


def test_beat_says_in_one_line_that_the_broker_is_away() -> None:
    away = _beats_error(SchedulingError("refused"))
    assert without_traceback(away)
    assert (away.getMessage(), away.exc_info) == ("Message Error: refused", None)
    bug = _beats_error(TypeError("oops"))
    assert without_traceback(bug)
    assert bug.exc_info


def _beats_error(error: Exception) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__)
    return logging.LogRecord("celery.beat", logging.ERROR, __file__, 1, "Message Error: %s\n%s", (error, "stack"), info)
