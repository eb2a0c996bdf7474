"""Sales as a consumer of messages: acceptance, purchases, and stale or discarded messages."""

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from orderflow.messaging.consuming import drain
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.models import PurchaseOrder
from purchase.services import cancel_purchase_orders, close_short
from sales.contract import SalesOrderNeedsAttention
from sales.models import LinkedPurchaseOrder, OrderStatus
from sales.process_manager import RetryReservation
from sales.services import SalesOrderDraft, place_orders, retry_reservations
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ShipReservation,
)
from tests.conftest import add_stock, drain_all, lines, product
from tests.purchase.helpers import published_messages, purchase_order, receive
from tests.sales.helpers import (
    cancel,
    linked_purchase_orders,
    manual_order,
    needing_attention,
    order_status,
    ordered_quantities,
    receive_and_drain,
    run_scheduled_messages,
    sales_order,
    status,
)

pytestmark = pytest.mark.django_db


def test_available_order_is_delivered_automatically() -> None:
    add_stock(chair=5)
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=2))])
    assert status(order) == "awaiting_stock_reservation"
    drain_all()
    assert status(order) == "delivered"


# -- purchases -----------------------------------------------------------------------------------


def test_shortages_are_purchased_and_pegged() -> None:
    add_stock(chair=2)
    order = sales_order(chair=3, desk=1)
    purchased = PurchaseOrder.objects.get()
    assert status(order) == "awaiting_goods_received"
    assert order_status(order).purchase_order_id == purchased.id
    assert sorted(purchased.lines.values_list("product__sku", "quantity", "pegged_to")) == [
        ("chair", 3, order.id),
        ("desk", 1, order.id),
    ]


def test_setting_shortage_purchases_only_the_shortage(settings: Settings) -> None:
    settings.ORDERFLOW_PURCHASE_QUANTITY = "shortage"
    add_stock(chair=2)
    assert ordered_quantities(sales_order(chair=3)) == [{"chair": 1}]


@pytest.mark.parametrize(
    ("policy", "purchase_order_status"),
    [("never", "open"), ("on_cancel", "open"), ("when_unneeded", "cancelled")],
)
def test_delivery_from_stock_withdraws_purchase_order_by_policy(
    settings: Settings, policy: str, purchase_order_status: str
) -> None:
    settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = policy
    order = sales_order(chair=3)
    add_stock(chair=3)
    drain_all()
    assert status(order) == "delivered"
    assert linked_purchase_orders(order)[0].status == purchase_order_status


def test_receipt_closes_linked_purchase_order() -> None:
    order = sales_order(chair=3)
    receive_and_drain(linked_purchase_orders(order)[0])
    received = StoredMessage.objects.get(type="purchase.GoodsReceived")
    assert LinkedPurchaseOrder.objects.get().closed_by_message_id == received.pk
    assert order_status(order).purchase_order_id is None


def test_receipt_of_unlinked_purchase_order_changes_nothing() -> None:
    sales_order(chair=3)
    before = list(OrderStatus.objects.values())
    receive_and_drain(purchase_order(lamp=1))
    assert list(OrderStatus.objects.values()) == before


# -- purchases after an incomplete one -----------------------------------------------------------


def test_closed_short_order_repurchases_outstanding_once() -> None:
    order = sales_order(chair=5, desk=1)
    [first] = linked_purchase_orders(order)
    receive_and_drain(first, chair=2, desk=1)
    close_short([first.id], actor="Ada")
    drain_all()
    run_scheduled_messages()
    run_scheduled_messages()
    assert ordered_quantities(order) == [{"chair": 5, "desk": 1}, {"chair": 3}]
    receive_and_drain(linked_purchase_orders(order)[1])
    assert status(order) == "delivered"


def test_retry_is_postponed_until_stock_has_recorded_receipt() -> None:
    order = sales_order(chair=5)
    [first] = linked_purchase_orders(order)
    receive(first, chair=2)
    close_short([first.id], actor="Ada")
    for _ in range(3):
        drain("sales")
        QueuedMessage.objects.filter(consumer="sales").update(due_at=timezone.now())
    assert status(order) == "awaiting_stock_reservation"
    assert len(published_messages(MakeReservation)) == 1
    assert len(published_messages(RetryReservation)) > 1
    drain_all()
    run_scheduled_messages()
    assert ordered_quantities(order) == [{"chair": 5}, {"chair": 3}]


def test_supplier_cancellation_repurchases_shortage() -> None:
    order = sales_order(chair=5)
    cancel_purchase_orders([linked_purchase_orders(order)[0].id], actor="Ada")
    drain_all()
    assert len(linked_purchase_orders(order)) == 1  # the countdown has not passed
    run_scheduled_messages()
    assert ordered_quantities(order) == [{"chair": 5}, {"chair": 5}]


def test_purchase_limit_publishes_needs_attention_once() -> None:
    order = needing_attention(chair=5)
    run_scheduled_messages()
    assert len(linked_purchase_orders(order)) == 4
    [event] = published_messages(SalesOrderNeedsAttention)
    assert event["shortages"] == [{"product_id": str(product("chair")), "quantity": 5}]


def test_positive_adjustment_delivers_order_needing_attention() -> None:
    order = needing_attention(chair=5)
    add_stock(chair=5)
    drain_all()
    assert (status(order), order_status(order).needs_attention) == ("delivered", False)


# -- stale, discarded and replayed messages ------------------------------------------------------


def test_acceptance_of_cancelled_order_releases_again() -> None:
    add_stock(chair=2)
    order = manual_order(chair=2)
    cancel(order)
    accepted = ReservationAccepted(reservation_id=order.id, revision=1, request_number=1)
    with transaction.atomic():
        publish([OutgoingMessage(message=accepted)])
    drain_all()
    assert status(order) == "cancelled"
    assert len(published_messages(ReleaseReservation)) == 2
    assert published_messages(ShipReservation) == []
    assert not QueuedMessage.objects.exists()


def test_order_with_discarded_request_can_be_retried() -> None:
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=2))])
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    drain_all()
    [dead_letter] = QueuedMessage.objects.dead_letters()
    discard([dead_letter.pk], actor="Ada", reason="payload is invalid")
    retry_reservations([order.id], actor="Ada")
    drain_all()
    assert status(order) == "awaiting_goods_received"
    # A later replay of the corrected request changes nothing.
    first, second = StoredMessage.objects.filter(type="stock.MakeReservation").order_by("id")
    first.payload = second.payload | {"request_number": 1}
    first.save()
    replay([dead_letter.pk], actor="Ada", reason="payload is corrected")
    drain_all()
    assert status(order) == "awaiting_goods_received"
    assert PurchaseOrder.objects.count() == 1


def test_replayed_rejection_of_deliverable_order_is_ignored() -> None:
    order = manual_order(chair=2)
    receive_and_drain(linked_purchase_orders(order)[0])
    rejected = StoredMessage.objects.get(type="stock.ReservationRejected")
    discarded = QueuedMessage.objects.create(
        consumer="sales",
        message=rejected,
        key=rejected.key,
        due_at=timezone.now(),
        status=QueuedMessageStatus.DISCARDED,
    )
    replay([discarded.pk], actor="Ada", reason="discarded by mistake")
    drain_all()
    assert status(order) == "deliverable"
    assert not QueuedMessage.objects.filter(message=rejected).exists()
