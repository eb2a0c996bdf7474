from collections.abc import Callable
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from orderflow.core.quantities import LinesRequired
from orderflow.core.reasons import ReasonTooLong
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage, StoredMessage
from purchase.contract import WithdrawPurchaseOrder
from purchase.models import PurchaseOrder, PurchaseOrderLine
from sales.contract import SalesOrderChanged, SalesOrderDelivered
from sales.models import LinkedPurchaseOrder, OrderStatus
from sales.process_manager import (
    NothingToRetry,
    RetryReservation,
    SalesOrderCannotBeCancelled,
    SalesOrderCannotBeChanged,
    SalesOrderCannotBeDelivered,
)
from sales.services import (
    RevisionConflict,
    SalesOrderDraft,
    SalesOrderNotFound,
    cancel_orders,
    change_order,
    deliver_orders,
    place_orders,
    retry_reservations,
)
from stock.contract import ReservationAccepted, ShipReservation
from stock.services import Reversal, reverse_receipt
from tests.conftest import add_stock, drain_all, lines, product
from tests.purchase.helpers import published_messages, receive
from tests.sales.helpers import (
    cancel,
    change,
    history,
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
from tests.stock.helpers import reserved_quantities

pytestmark = pytest.mark.django_db


# -- deliver -------------------------------------------------------------------------------------


def test_manual_order_is_delivered_by_a_user() -> None:
    add_stock(chair=5)
    order = manual_order(chair=2)
    assert status(order) == "deliverable"
    deliver_orders([order.id], actor="Grace")
    assert status(order) == "delivered"
    assert list(history(order).values_list("actor", flat=True))[-1] == "Grace"


def test_repeated_delivery_publishes_once() -> None:
    add_stock(chair=5)
    order = manual_order(chair=2)
    deliver_orders([order.id], actor="Grace")
    deliver_orders([order.id], actor="Grace")
    assert len(published_messages(SalesOrderDelivered)) == 1


def test_rejects_delivering_awaiting_order_and_delivers_none() -> None:
    add_stock(chair=2)
    deliverable, awaiting = manual_order(chair=2), manual_order(desk=1)
    with pytest.raises(
        SalesOrderCannotBeDelivered,
        match=f"{awaiting.reference} cannot be delivered: its status is awaiting goods received",
    ):
        deliver_orders([deliverable.id, awaiting.id], actor="Grace")
    assert status(deliverable) == "deliverable"


# -- every decision ------------------------------------------------------------------------------


@pytest.mark.parametrize("decide", [deliver_orders, cancel_orders, retry_reservations])
def test_rejects_decision_about_unknown_order(decide: Callable[..., int]) -> None:
    with pytest.raises(SalesOrderNotFound):
        decide([uuid4()], actor="Grace")


def test_rejects_reason_above_200_characters() -> None:
    order = sales_order(chair=2)
    with pytest.raises(ReasonTooLong, match="has 201 characters; at most 200 are allowed"):
        cancel_orders([order.id], actor="Ada", reason="x" * 201)
    assert status(order) != "cancelled"


# -- cancel --------------------------------------------------------------------------------------


def test_order_cancelled_before_reply_is_not_delivered() -> None:
    add_stock(chair=5)
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=2))])
    cancel(order)
    run_scheduled_messages()
    assert (status(order), reserved_quantities(order.id)) == ("cancelled", {"chair": 0})
    assert published_messages(SalesOrderDelivered) == []
    assert not QueuedMessage.objects.exists()


def test_cancelled_order_releases_by_priority_then_time() -> None:
    add_stock(chair=5)
    cancelled = manual_order(chair=5)
    newer, older = sales_order(days_later=2, chair=2), sales_order(days_later=1, chair=2)
    urgent = sales_order(days_later=3, priority=1, chair=2)
    cancel(cancelled)
    assert status(cancelled) == "cancelled"
    assert (status(urgent), status(older)) == ("delivered", "delivered")
    assert status(newer) == "awaiting_goods_received"
    assert reserved_quantities(newer.id) == {"chair": 1}


def test_cancelled_order_withdraws_linked_purchase_order() -> None:
    order = sales_order(chair=2)
    cancel(order)
    [purchase_order] = linked_purchase_orders(order)
    assert (status(order), purchase_order.status) == ("cancelled", "cancelled")
    closed_by = StoredMessage.objects.get(type="purchase.PurchaseOrderCancelled")
    assert LinkedPurchaseOrder.objects.get().closed_by_message_id == closed_by.pk
    run_scheduled_messages()
    assert PurchaseOrder.objects.count() == 1


def test_partially_received_order_is_kept_and_allocated() -> None:
    cancelled = sales_order(chair=3)
    [purchase_order] = linked_purchase_orders(cancelled)
    backordered = sales_order(days_later=1, chair=2)
    receive_and_drain(purchase_order, chair=1)
    cancel(cancelled)
    purchase_order.refresh_from_db()
    assert purchase_order.status == "partially_received"
    assert "kept after a partial receipt" in purchase_order.history.get().description
    assert reserved_quantities(backordered.id) == {"chair": 1}
    receive_and_drain(purchase_order)
    assert (status(cancelled), status(backordered)) == ("cancelled", "delivered")


def test_policy_never_keeps_purchase_order_for_backorders(settings: Settings) -> None:
    settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = "never"
    cancelled = sales_order(chair=3)
    backordered = sales_order(days_later=1, chair=2)
    cancel(cancelled)
    [purchase_order] = linked_purchase_orders(cancelled)
    assert purchase_order.status == "open"
    assert published_messages(WithdrawPurchaseOrder) == []
    receive_and_drain(purchase_order)
    assert (status(cancelled), status(backordered)) == ("cancelled", "delivered")
    assert not QueuedMessage.objects.exists()


@pytest.mark.parametrize("on_hand", [0, 5], ids=["awaiting goods", "deliverable"])
def test_repeated_cancellation_publishes_nothing(on_hand: int) -> None:
    if on_hand:
        add_stock(chair=on_hand)
    order = manual_order(chair=2)
    cancel(order)
    published = StoredMessage.objects.count()
    cancel(order)
    cancel_orders([order.id, order.id], actor="Grace")
    assert StoredMessage.objects.count() == published
    assert history(order).filter(to_status="cancelled").count() == 1


def test_history_names_actor_and_reason_of_cancellation() -> None:
    order = sales_order(chair=2)
    cancel_orders([order.id], actor="Ada", reason="duplicate order")
    entry = history(order).latest("id")
    assert (entry.from_status, entry.to_status) == ("awaiting_goods_received", "cancelled")
    assert (entry.actor, entry.reason) == ("Ada", "duplicate order")


def test_rejects_cancelling_delivered_order_and_cancels_none() -> None:
    add_stock(chair=1)
    delivered, awaiting = sales_order(chair=1), sales_order(chair=2)
    published = StoredMessage.objects.count()
    with pytest.raises(
        SalesOrderCannotBeCancelled,
        match=f"{delivered.reference} cannot be cancelled: its status is delivered",
    ):
        cancel_orders([awaiting.id, delivered.id], actor="Ada")
    assert status(awaiting) == "awaiting_goods_received"
    assert StoredMessage.objects.count() == published


def test_rejects_cancelling_unknown_order_and_cancels_none() -> None:
    order = sales_order(chair=2)
    with pytest.raises(SalesOrderNotFound):
        cancel_orders([order.id, uuid4()], actor="Ada")
    assert status(order) == "awaiting_goods_received"


def test_cancelling_100_orders_needs_constant_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    order_lines = lines(chair=1, desk=2)
    orders = place_orders([SalesOrderDraft(lines=order_lines) for _ in range(100)])
    drain_all()
    with django_assert_max_num_queries(20):
        cancel_orders([order.id for order in orders], actor="Ada")
    with django_assert_max_num_queries(120):
        drain_all()
    assert set(OrderStatus.objects.values_list("status", flat=True)) == {"cancelled"}


# -- change --------------------------------------------------------------------------------------


def test_reduced_order_releases_surplus_to_backorders() -> None:
    add_stock(chair=5)
    order, backordered = manual_order(chair=5), sales_order(days_later=1, chair=3)
    change(order, chair=2)
    assert (status(order), reserved_quantities(order.id)) == ("deliverable", {"chair": 2})
    assert status(backordered) == "delivered"
    deliver_orders([order.id], actor="Ada")
    drain_all()
    assert not QueuedMessage.objects.dead_letters().exists()


def test_increased_order_reserves_available_stock() -> None:
    add_stock(chair=5)
    order = manual_order(chair=2)
    change(order, chair=4)
    assert (status(order), reserved_quantities(order.id)) == ("deliverable", {"chair": 4})
    assert not PurchaseOrder.objects.exists()


def test_increased_order_purchases_only_uncovered_shortage() -> None:
    order = sales_order(chair=2)
    change(order, chair=5)
    assert ordered_quantities(order) == [{"chair": 2}, {"chair": 3}]
    for purchase_order in linked_purchase_orders(order):
        receive_and_drain(purchase_order)
    run_scheduled_messages()
    assert (status(order), PurchaseOrder.objects.count()) == ("delivered", 2)


def test_changed_product_is_purchased_and_old_goods_allocated() -> None:
    order, backordered = sales_order(chair=2), sales_order(days_later=1, chair=1)
    change(order, lamp=1)
    assert ordered_quantities(order) == [{"chair": 2}, {"lamp": 1}]
    assert reserved_quantities(order.id) == {"lamp": 0}
    chair_order, lamp_order = linked_purchase_orders(order)
    receive_and_drain(chair_order)
    assert (status(order), status(backordered)) == ("awaiting_stock_reservation", "delivered")
    run_scheduled_messages()
    assert (status(order), PurchaseOrder.objects.count()) == ("awaiting_goods_received", 3)
    receive_and_drain(lamp_order)
    assert status(order) == "delivered"


def test_order_awaits_its_latest_purchase_order() -> None:
    order = sales_order(chair=2)
    change(order, chair=3)
    _, latest = linked_purchase_orders(order)
    assert order_status(order).purchase_order_id == latest.id


def test_change_to_same_lines_changes_nothing() -> None:
    order = sales_order(chair=2, desk=1)
    published = StoredMessage.objects.count()
    change_order(order.id, [*lines(desk=1, chair=1), *lines(chair=1)], actor="Ada")
    assert (order_status(order).revision, StoredMessage.objects.count()) == (1, published)


def test_change_of_order_needing_attention_purchases_again() -> None:
    order = needing_attention(chair=2)
    change(order, chair=3)
    after = order_status(order)
    assert (after.status, after.needs_attention) == ("awaiting_goods_received", False)
    assert after.purchase_count == 1


def test_change_is_published_with_revision_and_lines() -> None:
    change(sales_order(chair=2), lamp=1)
    [event] = published_messages(SalesOrderChanged)
    assert event["revision"] == 2
    assert event["lines"] == [{"product_id": str(product("lamp")), "quantity": 1}]


def test_history_names_actor_and_reason_of_change() -> None:
    order = sales_order(chair=2)
    change_order(order.id, lines(lamp=1), actor="Ada", reason="customer called")
    entry = history(order).get(actor="Ada")
    assert (entry.to_status, entry.reason) == ("awaiting_stock_reservation", "customer called")


def test_rejects_change_with_older_revision() -> None:
    order = sales_order(chair=2)
    change_order(order.id, lines(chair=3), actor="Ada", revision=1)
    with pytest.raises(
        RevisionConflict, match=r"Revision 1 of .* is not current; the current revision is 2"
    ):
        change_order(order.id, lines(chair=4), actor="Grace", revision=1)
    assert list(order.lines.values_list("quantity", flat=True)) == [3]
    change_order(order.id, lines(chair=4), actor="Grace", revision=2)
    assert order_status(order).revision == 3


def test_change_after_reversal_purchases_shortage_once() -> None:
    # Fails if the reversal reopens a purchase order that was fully received.
    order = manual_order(chair=4)
    receipt = receive(PurchaseOrder.objects.get())
    drain_all()
    change(order, chair=3)
    reversal = Reversal(
        receipt_id=receipt.id, product_id=product("chair"), quantity=1, reason="miscounted"
    )
    reverse_receipt(reversal, actor="Ada")
    change(order, chair=4)
    open_lines = PurchaseOrderLine.objects.filter(order__in=PurchaseOrder.objects.open())
    assert list(open_lines.values_list("quantity", "received")) == [(1, 0)]


def test_acceptance_of_older_revision_delivers_nothing() -> None:
    add_stock(chair=2)
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=2))])
    drain("stock")
    change_order(order.id, lines(chair=3), actor="Ada")
    drain("sales", batch=1)
    assert len(published_messages(ReservationAccepted)) == 1
    assert status(order) == "awaiting_stock_reservation"
    assert published_messages(ShipReservation) == []
    drain_all()
    assert status(order) == "awaiting_goods_received"
    assert reserved_quantities(order.id) == {"chair": 2}
    assert ordered_quantities(order) == [{"chair": 1}]


@pytest.mark.parametrize("quantity", [1, 2], ids=["other lines", "same lines"])
@pytest.mark.parametrize("closed", ["delivered", "cancelled"])
def test_rejects_changing_closed_order(closed: str, quantity: int) -> None:
    add_stock(chair=2)
    order = manual_order(chair=2)
    if closed == "cancelled":
        cancel(order)
    else:
        deliver_orders([order.id], actor="Ada")
    published = StoredMessage.objects.count()
    with pytest.raises(SalesOrderCannotBeChanged, match=f"its status is {closed}"):
        change_order(order.id, lines(chair=quantity), actor="Ada")
    assert list(order.lines.values_list("quantity", flat=True)) == [2]
    assert StoredMessage.objects.count() == published


def test_rejects_changing_unknown_order() -> None:
    with pytest.raises(SalesOrderNotFound):
        change_order(uuid4(), lines(chair=1), actor="Ada")


def test_rejects_change_without_lines() -> None:
    with pytest.raises(LinesRequired):
        change_order(sales_order(chair=2).id, [], actor="Ada")


# -- retry ---------------------------------------------------------------------------------------


def test_retry_creates_another_purchase_order() -> None:
    order = needing_attention(chair=5)
    retry_reservations([order.id], actor="Ada", reason="another supplier")
    drain_all()
    after = order_status(order)
    assert (after.status, after.needs_attention) == ("awaiting_goods_received", False)
    assert after.purchase_count == 1
    assert len(linked_purchase_orders(order)) == 5
    assert history(order).filter(actor="Ada", reason="another supplier").count() == 1
    receive_and_drain(linked_purchase_orders(order)[-1])
    assert status(order) == "delivered"


def test_order_repeated_in_one_call_is_retried_once() -> None:
    order = needing_attention(chair=2)
    retries = len(published_messages(RetryReservation))
    retry_reservations([order.id, order.id], actor="Ada")
    [retry] = published_messages(RetryReservation)[retries:]
    assert retry["countdown"] == 0


def test_rejects_retry_of_awaiting_order_and_retries_none() -> None:
    flagged, awaiting = needing_attention(chair=5), sales_order(chair=1)
    with pytest.raises(NothingToRetry, match=awaiting.reference):
        retry_reservations([flagged.id, awaiting.id], actor="Ada")
    assert order_status(flagged).needs_attention
