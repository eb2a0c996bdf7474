"""The explanation names what blocks a sales order: shortages, purchase orders, failed messages."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.operations.explanation import Explanation, explain
from purchase.models import PurchaseOrder
from purchase.services import cancel_purchase_orders, mark_overdue, reschedule
from sales.models import OrderStatus
from sales.services import SalesOrderDraft, cancel_orders, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import drain_all, lines, product
from tests.purchase.helpers import purchase_order, receive

pytestmark = pytest.mark.django_db

EXPECTED_AT = datetime(2031, 5, 17, tzinfo=UTC)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def explanation(reference: str = "S-1") -> Explanation:
    result = explain(reference)
    assert result
    return result


def place(reference: str = "S-1", *, priority: int = 0, **quantities: int) -> SalesOrderDraft:
    """Place a sales order, by default for 1 desk, and drain all consumers."""
    draft = SalesOrderDraft(
        reference=reference,
        lines=lines(**quantities or {"desk": 1}),
        priority=priority,
        delivery_mode="manual",
    )
    place_orders([draft])
    drain_all()
    return draft


def linked_purchase_order(order: SalesOrderDraft) -> PurchaseOrder:
    return PurchaseOrder.objects.get(lines__pegged_to=order.id)


def place_without_draining() -> None:
    place_orders([SalesOrderDraft(reference="S-1", lines=lines(desk=1))])


# -- shortages -----------------------------------------------------------------------------------


def test_shortage_names_line_and_linked_purchase_order() -> None:
    opening = Adjustment(product_id=product("chair"), quantity=9, reason="opening stock")
    adjust_stock([opening], actor="Ada")
    linked = linked_purchase_order(place(chair=2, desk=3))
    reschedule(linked.id, EXPECTED_AT, actor="Anna")
    receive(linked, desk=1)
    drain_all()
    [shortage] = explanation().shortages
    assert (shortage.sku, shortage.queue_position) == ("desk", 1)
    assert (shortage.quantity, shortage.reserved, shortage.shortage) == (3, 1, 2)
    [on_order] = shortage.on_order
    assert on_order.purchase_order_reference == linked.reference
    assert (on_order.quantity, on_order.pegged_quantity) == (2, 2)
    assert (on_order.expected_at, on_order.overdue) == (EXPECTED_AT, False)
    assert explanation().summary == (
        "Sales order S-1 is awaiting goods received: 2 × desk short (1 of 3 reserved), queue "
        f"position 1: 2 on order with {linked.reference} (pegged to this order, expected "
        "2031-05-17)."
    )


def test_queue_position_counts_by_priority_then_time() -> None:
    place("first", desk=1)
    place("second", desk=1)
    place("urgent", desk=1, priority=5)
    place("other product", chair=1)
    references = ("urgent", "first", "second", "other product")
    positions = [explanation(each).shortages[0].queue_position for each in references]
    assert positions == [1, 2, 3, 1]
    assert "1 × desk short, queue position 3: " in explanation("second").summary


def test_queue_position_of_equal_times_is_by_id() -> None:
    placed_at = datetime(2026, 1, 1, tzinfo=UTC)
    drafts = [
        SalesOrderDraft(
            id=UUID(int=number),
            reference=f"S-{number}",
            lines=lines(desk=1),
            placed_at=placed_at,
        )
        for number in (2, 1, 3)
    ]
    place_orders(drafts)
    drain_all()
    references = ("S-1", "S-2", "S-3")
    assert [explanation(each).shortages[0].queue_position for each in references] == [1, 2, 3]


def test_unpegged_quantities_on_order_are_included_foreign_pegs_not() -> None:
    place("other order")
    linked = linked_purchase_order(place())
    unpegged = purchase_order(expected_at=EXPECTED_AT, desk=7)
    [shortage] = explanation().shortages
    assert [
        (each.purchase_order_reference, each.quantity, each.pegged_quantity)
        for each in shortage.on_order
    ] == [(linked.reference, 1, 1), (unpegged.reference, 7, 0)]


def test_overdue_purchase_order_is_marked() -> None:
    linked = linked_purchase_order(place())
    reschedule(linked.id, PAST, actor="Anna")
    mark_overdue()
    drain_all()
    assert explanation().shortages[0].on_order[0].overdue
    assert (
        "expected 2020-01-01, overdue). It is overdue; its status has not changed since "
    ) in explanation().summary


def test_long_list_of_purchase_orders_is_shortened() -> None:
    place()
    for _ in range(20):
        purchase_order(desk=1)
    assert len(explanation().shortages[0].on_order) == 21
    assert explanation().summary.endswith(" and 16 more purchase orders.")


def test_dates_use_configured_time_zone(settings: Settings) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    linked = linked_purchase_order(place())
    reschedule(linked.id, datetime(2031, 5, 16, 20, tzinfo=UTC), actor="Anna")
    assert "expected 2031-05-17" in explanation().summary


def test_number_of_queries_is_independent_of_other_orders(
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(6):
        place(f"S-{number}", desk=1, chair=1, lamp=1)
    assert OrderStatus.objects.filter(status="awaiting_goods_received").count() == 6
    with django_assert_max_num_queries(9):
        explanation("S-5")


# -- pending messages ----------------------------------------------------------------------------


def test_unrecorded_receipt_is_named_in_reason() -> None:
    receive(linked_purchase_order(place()))
    assert explanation().reasons == (
        "1 × desk short, queue position 1: the goods are received, and Stock will record them",
    )


def test_pending_reply_and_purchase_are_named_in_reason() -> None:
    place_without_draining()
    assert explanation().reasons == ("Stock has not replied to reservation request 1",)
    drain("stock")
    assert explanation().reasons == ("Stock has replied, and Sales will handle the reply",)
    drain("sales")
    assert explanation().reasons == (
        "1 × desk short, queue position 1: the purchase order is being created",
    )


def test_cancelled_purchase_order_leads_to_new_request() -> None:
    linked = linked_purchase_order(place())
    cancel_purchase_orders([linked.id], actor="Anna")
    assert explanation().reasons == (
        "1 × desk short, queue position 1: its purchase order is cancelled, and the reservation "
        "will be requested again",
    )
    drain_all()
    [reason] = explanation().reasons
    assert reason.startswith("the reservation is requested again at ")


def test_fully_reserved_order_waits_for_sales() -> None:
    receive(linked_purchase_order(place()))
    drain("stock")
    assert explanation().reasons == (
        "Stock has reserved every line, and Sales will handle the reply",
    )


# -- user decisions ------------------------------------------------------------------------------


def test_purchase_limit_asks_for_decision(settings: Settings) -> None:
    settings.ORDERFLOW_MAX_REPURCHASES = 0
    linked = linked_purchase_order(place())
    cancel_purchase_orders([linked.id], actor="Anna")
    drain_all()
    QueuedMessage.objects.update(due_at=PAST)
    drain_all()
    assert explanation().needs_attention
    assert explanation().reasons == (
        "1 purchase order did not cover the shortage, so a user must retry, change or cancel the "
        "order",
        "1 × desk short, queue position 1: not on order",
    )


def test_dead_letter_is_named() -> None:
    place_without_draining()
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    drain_all()
    [failed] = explanation().failed_messages
    assert (failed.type, failed.consumer) == ("stock.MakeReservation", "stock")
    assert failed.status == QueuedMessageStatus.DEAD_LETTER
    assert (
        f"dead letter {failed.message_id} (stock.MakeReservation to stock) must be replayed or "
        "discarded: "
    ) in explanation().summary


@pytest.mark.parametrize(("attempts", "text"), [(1, "1 time"), (2, "2 times")])
def test_failed_message_about_purchase_order_is_named(attempts: int, text: str) -> None:
    receive(linked_purchase_order(place()))
    QueuedMessage.objects.filter(consumer="stock").update(
        attempts=attempts, due_at=EXPECTED_AT, last_error="out of memory"
    )
    [failed] = explanation().failed_messages
    assert failed.type == "purchase.GoodsReceived"
    assert (
        f"message {failed.message_id} (purchase.GoodsReceived to stock) failed {text}, next "
        "attempt at "
    ) in explanation().summary


def test_discarded_message_blocks_only_open_orders() -> None:
    order = place()
    message = StoredMessage.objects.filter(key=order.id).earliest("id")
    QueuedMessage.objects.create(
        consumer="sales",
        message=message,
        key=order.id,
        due_at=EXPECTED_AT,
        status=QueuedMessageStatus.DISCARDED,
    )
    assert "was discarded and can be replayed" in explanation().reasons[0]
    cancel_orders([order.id], actor="Grace")
    drain_all()
    assert explanation().reasons == ()
    assert len(explanation().failed_messages) == 1


# -- closed and unknown orders -------------------------------------------------------------------


def test_closed_order_has_no_reasons() -> None:
    order = place()
    cancel_orders([order.id], actor="Grace")
    drain_all()
    assert explanation().summary == "Sales order S-1 is cancelled."
    assert (explanation().reasons, explanation().shortages) == ((), ())


def test_unknown_order_has_no_explanation() -> None:
    assert explain("unknown") is None
