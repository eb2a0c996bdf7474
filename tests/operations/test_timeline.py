from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orderflow.messaging.consuming import drain
from orderflow.messaging.dead_letters import discard
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.operations.timeline import Timeline, timeline_of
from purchase.models import PurchaseOrder
from purchase.services import close_short
from sales.services import SalesOrderDraft, cancel_orders, deliver_orders, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import drain_all, lines, product
from tests.purchase.helpers import receive

pytestmark = pytest.mark.django_db


def timeline() -> Timeline:
    result = timeline_of("S-1")
    assert result
    return result


def texts() -> list[str]:
    return [entry.text for entry in timeline().entries]


def place(*, delivery_mode: str = "automatic") -> SalesOrderDraft:
    """Place a sales order of 3 chairs."""
    draft = SalesOrderDraft(
        reference="S-1", customer="Ada", lines=lines(chair=3), delivery_mode=delivery_mode
    )
    place_orders([draft], actor="Grace")
    return draft


def test_timeline_shows_whole_process_in_time_order() -> None:
    place()
    drain_all()
    purchase_order = PurchaseOrder.objects.get()
    receive(purchase_order)
    drain_all()
    assert timeline().title == "Sales order S-1 for Ada"
    assert texts() == [
        "SalesOrderCreated 3 × chair",
        "→ awaiting stock reservation, by Grace",
        "MakeReservation request 1, 3 × chair",
        "ReservationRejected request 1, short of 3 × chair",
        "→ awaiting goods received",
        f"CreatePurchaseOrder {purchase_order.reference}, 3 × chair",
        f"GoodsReceived {purchase_order.reference}, 3 × chair, final",
        "→ awaiting stock reservation",
        "RetryReservation request 2, in 2 s",
        "reserved 3 × chair",
        "ReservationAccepted request 1",
        "→ deliverable",
        "→ delivered",
        "SalesOrderDelivered",
        "ShipReservation",
        "shipped 3 × chair",
    ]
    assert timeline().is_complete


def test_timeline_shows_decisions_with_actor_and_reason() -> None:
    order = place(delivery_mode="manual")
    drain_all()
    purchase_order = PurchaseOrder.objects.get()
    assert not timeline().is_complete
    close_short([purchase_order.id], actor="Anna", reason="sold out")
    cancel_orders([order.id], actor="Grace", reason="ordered twice")
    assert not timeline().is_complete  # Stock and Purchase have pending messages
    drain_all()
    assert f"{purchase_order.reference} closed short, by Anna: sold out" in texts()
    assert "→ cancelled, by Grace: ordered twice" in texts()
    assert timeline().is_complete


def test_unanswered_request_blocks_order() -> None:
    place()
    assert timeline().reasons == ("Stock has not replied to reservation request 1",)


def test_shortage_after_partial_receipt_blocks_order() -> None:
    place()
    drain_all()
    purchase_order = PurchaseOrder.objects.get()
    receive(purchase_order, chair=1)
    drain_all()
    assert timeline().reasons == (
        "2 × chair short (1 of 3 reserved), queue position 1: 2 on order with "
        f"{purchase_order.reference} (pegged to this order, expected "
        f"{purchase_order.expected_at:%Y-%m-%d})",
    )


def test_retry_waits_for_lagging_stock() -> None:
    place()
    drain_all()
    receive(PurchaseOrder.objects.get())
    drain("sales")
    [reason] = timeline().reasons
    assert reason.startswith("the reservation is requested again at ")


def test_manual_delivery_blocks_order_until_user_delivers() -> None:
    opening = Adjustment(product_id=product("chair"), quantity=5, reason="opening stock")
    adjust_stock([opening], actor="Grace")
    order = place(delivery_mode="manual")
    drain_all()
    assert timeline().reasons == ("a user must deliver it",)
    deliver_orders([order.id], actor="Grace")
    drain_all()
    assert timeline().reasons == ()


def test_dead_letter_blocks_order_also_after_it_is_discarded() -> None:
    place()
    StoredMessage.objects.filter(type="stock.MakeReservation").update(payload={})
    drain_all()
    dead_letter = QueuedMessage.objects.dead_letters().get()
    label = f"{dead_letter.message_id} (stock.MakeReservation to stock)"
    assert (
        timeline()
        .reasons[0]
        .startswith(f"dead letter {label} must be replayed or discarded: UndecodableMessage: ")
    )
    discard([dead_letter.pk], actor="Grace", reason="test data")
    reason = timeline().reasons[0]
    assert reason.startswith(f"message {label} was discarded and can be replayed: ")
    assert reason.endswith(": test data")


def test_command_finds_order_by_reference_or_id() -> None:
    order = place()
    for reference_or_id in ("S-1", str(order.id)):
        output = StringIO()
        call_command("timeline", reference_or_id, stdout=output)
        assert "Sales order S-1 for Ada\n" in output.getvalue()
        assert "Blocked: Stock has not replied to reservation request 1" in output.getvalue()


def test_command_rejects_unknown_order() -> None:
    with pytest.raises(CommandError, match="No sales order has the reference or id unknown"):
        call_command("timeline", "unknown")
