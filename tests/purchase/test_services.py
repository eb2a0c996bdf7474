from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from orderflow.core.quantities import LinesRequired
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message
from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import (
    CreatePurchaseOrder,
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    WithdrawPurchaseOrder,
)
from purchase.lifecycle import (
    ProductNotOrdered,
    PurchaseOrderCannotBeCancelled,
    PurchaseOrderCannotBeClosedShort,
    PurchaseOrderCannotBeReceived,
    QuantityExceedsOrdered,
)
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from purchase.services import (
    PurchaseOrderAlreadyExists,
    PurchaseOrderClosed,
    PurchaseOrderDraft,
    PurchaseOrderNotFound,
    ReceiptAlreadyExists,
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    mark_overdue,
    receive_goods,
    reschedule,
)
from purchase.tasks import mark_overdue_orders
from tests.conftest import product
from tests.purchase.helpers import (
    published_messages,
    purchase_order,
    receipt,
    receive,
    status,
    unpegged,
)

pytestmark = pytest.mark.django_db


def received(order: PurchaseOrder) -> dict[str, int]:
    """Return the received quantities by SKU."""
    rows = PurchaseOrderLine.objects.filter(order=order)
    return dict(rows.values_list("product__sku", "received"))


def order_with_status(expected: str) -> PurchaseOrder:
    """Return a purchase order of 5 chairs that reached this status through the services."""
    order = purchase_order(chair=5)
    if expected == "partially_received":
        receive(order, chair=2)
    elif expected == "received":
        receive(order)
    elif expected == "closed_short":
        close_short([order.id], actor="Grace")
    elif expected == "cancelled":
        cancel_purchase_orders([order.id], actor="Grace")
    assert status(order) == expected
    return order


def handle_commands(*commands: Message, batch: int | None = None) -> None:
    """Publish these commands, and let Purchase handle them in batches of this size."""
    with transaction.atomic():
        publish([OutgoingMessage(message=command) for command in commands])
    drain("purchase", batch=batch)


def withdraw(purchase_order_id: UUID) -> WithdrawPurchaseOrder:
    return WithdrawPurchaseOrder(purchase_order_id=purchase_order_id, requester_id=uuid4())


def create(purchase_order_id: UUID, **quantities: int) -> CreatePurchaseOrder:
    return CreatePurchaseOrder(
        purchase_order_id=purchase_order_id,
        requester_id=uuid4(),
        lines=tuple(unpegged(**quantities)),
    )


def yesterday() -> datetime:
    return timezone.now() - timedelta(days=1)


def is_overdue(order: PurchaseOrder) -> bool:
    return PurchaseOrder.objects.get(id=order.id).overdue


# -- create --------------------------------------------------------------------------------------


def test_repeated_draft_creates_one_purchase_order() -> None:
    draft = PurchaseOrderDraft(lines=unpegged(chair=5))
    create_purchase_orders([draft])
    create_purchase_orders([draft])
    assert PurchaseOrder.objects.count() == 1


def test_rejects_existing_id_or_reference() -> None:
    draft = PurchaseOrderDraft(lines=unpegged(chair=5), reference="P-1")
    create_purchase_orders([draft])
    with pytest.raises(PurchaseOrderAlreadyExists, match=f"has the id {draft.id}"):
        create_purchase_orders([PurchaseOrderDraft(id=draft.id, lines=unpegged(chair=6))])
    with pytest.raises(PurchaseOrderAlreadyExists, match="has the reference P-1"):
        create_purchase_orders([PurchaseOrderDraft(lines=unpegged(chair=6), reference="P-1")])


# -- receive -------------------------------------------------------------------------------------


def test_two_receipts_complete_purchase_order() -> None:
    order = purchase_order(chair=5, desk=1)
    receive(order, chair=2)
    assert (status(order), received(order)) == ("partially_received", {"chair": 2, "desk": 0})
    receive(order)
    assert (status(order), received(order)) == ("received", {"chair": 5, "desk": 1})
    assert [message["final"] for message in published_messages(GoodsReceived)] == [False, True]


def test_two_receipts_in_one_call_follow_each_other() -> None:
    order = purchase_order(chair=5)
    receive_goods([receipt(order.id, chair=2), receipt(order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 5})


def test_repeated_receipt_is_recorded_once() -> None:
    order = purchase_order(chair=5)
    draft = receipt(order.id, chair=2)
    [first] = receive_goods([draft])
    [repeated] = receive_goods([draft])
    assert first == repeated
    assert received(order) == {"chair": 2}
    assert len(published_messages(GoodsReceived)) == 1


def test_receipt_repeated_in_one_call_is_recorded_once() -> None:
    order = purchase_order(chair=5)
    draft = receipt(order.id, chair=2)
    first, repeated = receive_goods([draft, draft])
    assert first == repeated
    assert received(order) == {"chair": 2}


def test_repeated_receipt_of_everything_is_recorded_once() -> None:
    order = purchase_order(chair=5)
    draft = receipt(order.id)
    receive_goods([draft])
    receive_goods([draft])
    assert received(order) == {"chair": 5}


def test_rejects_existing_receipt_id_with_other_content() -> None:
    order, other_order = purchase_order(chair=5), purchase_order(chair=2)
    recorded = receive(order, chair=2)
    with pytest.raises(ReceiptAlreadyExists):
        receive_goods([receipt(order.id, receipt_id=recorded.id, chair=3)])
    with pytest.raises(ReceiptAlreadyExists):
        receive_goods([receipt(other_order.id, receipt_id=recorded.id, chair=2)])


def test_rejects_quantity_above_ordered_and_records_no_receipt() -> None:
    order, other_order = purchase_order(chair=5), purchase_order(desk=1)
    with pytest.raises(QuantityExceedsOrdered, match=r"6 × chair.*outstanding quantity is 5"):
        receive_goods([receipt(other_order.id), receipt(order.id, chair=6)])
    assert received(other_order) == {"desk": 0}
    assert not Receipt.objects.exists()


@pytest.mark.parametrize("closed", ["received", "cancelled"])
def test_rejects_receipt_of_closed_purchase_order(closed: str) -> None:
    order = order_with_status(closed)
    with pytest.raises(PurchaseOrderCannotBeReceived, match=f"its status is {closed}"):
        receive(order, chair=1)
    with pytest.raises(PurchaseOrderCannotBeReceived, match=f"its status is {closed}"):
        receive(order)


def test_rejects_receipt_of_unknown_purchase_order() -> None:
    with pytest.raises(PurchaseOrderNotFound):
        receive_goods([receipt(uuid4())])


def test_rejects_receipt_without_lines() -> None:
    draft = ReceiptDraft(purchase_order_id=purchase_order(chair=1).id, lines=[])
    with pytest.raises(LinesRequired):
        receive_goods([draft])


def test_received_quantities_keep_their_pegs() -> None:
    first, second = uuid4(), uuid4()
    pegged = [
        PeggedQuantity(product_id=product("chair"), quantity=2, pegged_to=reservation_id)
        for reservation_id in (first, second)
    ]
    [order] = create_purchase_orders([PurchaseOrderDraft(lines=pegged)])
    receive(order, chair=3)
    [message] = published_messages(GoodsReceived)
    assert [(line["pegged_to"], line["quantity"]) for line in message["lines"]] == [
        (str(first), 2),
        (str(second), 1),
    ]


# -- over-receipt --------------------------------------------------------------------------------


def test_over_receipt_within_tolerance_is_recorded(settings: Settings) -> None:
    settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE = 10
    order = purchase_order(chair=20, desk=9)
    receive(order, chair=21)
    assert (status(order), received(order)) == ("partially_received", {"chair": 21, "desk": 0})
    with pytest.raises(
        QuantityExceedsOrdered, match=r"2 × chair.*quantity is 0, .* tolerance is 1"
    ):
        receive(order, chair=2)
    # The tolerance is rounded down: 10 % of 9 is 0.
    with pytest.raises(QuantityExceedsOrdered, match=r"10 × desk.*outstanding quantity is 9\."):
        receive(order, desk=10)
    receive(order, chair=1, desk=9)
    assert (status(order), received(order)) == ("received", {"chair": 22, "desk": 9})
    assert [message["final"] for message in published_messages(GoodsReceived)] == [False, True]


def test_receipt_of_everything_outstanding_ignores_tolerance(settings: Settings) -> None:
    settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE = 100
    order = purchase_order(chair=5, desk=1)
    receive(order, chair=10)
    receive(order)
    assert (status(order), received(order)) == ("received", {"chair": 10, "desk": 1})


def test_lower_tolerance_keeps_recorded_over_receipt(settings: Settings) -> None:
    settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE = 100
    order = purchase_order(chair=5, desk=1)
    receive(order, chair=8)
    settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE = 0
    with pytest.raises(QuantityExceedsOrdered, match=r"1 × chair.*outstanding quantity is 0\."):
        receive(order, chair=1)
    receive(order)
    assert (status(order), received(order)) == ("received", {"chair": 8, "desk": 1})


def test_rejects_product_without_line_despite_tolerance(settings: Settings) -> None:
    settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE = 100
    with pytest.raises(ProductNotOrdered):
        receive(purchase_order(chair=5), lamp=1)


# -- cancel, close short -------------------------------------------------------------------------


def test_repeated_cancellation_keeps_first_actor_and_reason() -> None:
    order = purchase_order(chair=5)
    cancel_purchase_orders([order.id], actor="Ada", reason="sold out")
    cancel_purchase_orders([order.id, order.id], actor="Grace")
    assert status(order) == "cancelled"
    assert len(published_messages(PurchaseOrderCancelled)) == 1
    entry = order.history.get()
    assert (entry.from_status, entry.to_status) == ("open", "cancelled")
    assert (entry.description, entry.actor, entry.reason) == ("cancelled", "Ada", "sold out")


@pytest.mark.parametrize("before", ["partially_received", "received", "closed_short"])
def test_rejects_cancelling_received_or_closed_order_and_changes_none(before: str) -> None:
    order, other_order = order_with_status(before), purchase_order(desk=1)
    with pytest.raises(PurchaseOrderCannotBeCancelled, match=order.reference):
        cancel_purchase_orders([other_order.id, order.id], actor="Ada")
    assert (status(order), status(other_order)) == (before, "open")
    assert published_messages(PurchaseOrderCancelled) == []


@pytest.mark.parametrize("before", ["open", "partially_received"])
def test_repeated_close_short_keeps_first_actor_and_reason(before: str) -> None:
    order = order_with_status(before)
    close_short([order.id], actor="Ada", reason="discontinued")
    close_short([order.id, order.id], actor="Grace")
    assert status(order) == "closed_short"
    assert len(published_messages(PurchaseOrderClosedShort)) == 1
    entry = order.history.get()
    assert (entry.from_status, entry.to_status) == (before, "closed_short")
    assert (entry.description, entry.actor, entry.reason) == (
        "closed short",
        "Ada",
        "discontinued",
    )
    with pytest.raises(PurchaseOrderCannotBeReceived, match="its status is closed short"):
        receive(order)


@pytest.mark.parametrize("before", ["received", "cancelled"])
def test_rejects_closing_short_closed_order_and_changes_none(before: str) -> None:
    order, other_order = order_with_status(before), purchase_order(desk=1)
    with pytest.raises(PurchaseOrderCannotBeClosedShort, match=order.reference):
        close_short([other_order.id, order.id], actor="Ada")
    assert (status(order), status(other_order)) == (before, "open")
    assert published_messages(PurchaseOrderClosedShort) == []


@pytest.mark.parametrize("decision", [cancel_purchase_orders, close_short])
def test_rejects_decision_about_unknown_order_and_changes_none(
    decision: Callable[..., int],
) -> None:
    other_order = purchase_order(desk=1)
    with pytest.raises(PurchaseOrderNotFound):
        decision([other_order.id, uuid4()], actor="Ada")
    assert status(other_order) == "open"


# -- withdraw ------------------------------------------------------------------------------------


def test_repeated_withdrawal_cancels_once_and_records_message() -> None:
    order = purchase_order(chair=5)
    handle_commands(withdraw(order.id), withdraw(order.id))
    handle_commands(withdraw(order.id))
    assert status(order) == "cancelled"
    assert len(published_messages(PurchaseOrderCancelled)) == 1
    withdrawals = StoredMessage.objects.filter(type="purchase.WithdrawPurchaseOrder")
    entry = order.history.get()
    assert entry.message_id == withdrawals.earliest("id").pk
    assert entry.description == "cancelled: Sales no longer needs it"


def test_withdrawn_order_is_kept_after_partial_receipt() -> None:
    order = order_with_status("partially_received")
    handle_commands(withdraw(order.id))
    assert status(order) == "partially_received"
    assert published_messages(PurchaseOrderCancelled) == []
    assert order.history.get().description == (
        "kept after a partial receipt, although Sales no longer needs it"
    )
    receive(order)
    assert status(order) == "received"


@pytest.mark.parametrize("closed", ["received", "closed_short", "cancelled"])
def test_withdrawal_of_closed_order_changes_nothing(closed: str) -> None:
    order = order_with_status(closed)
    history, messages = order.history.count(), StoredMessage.objects.count()
    handle_commands(withdraw(order.id))
    assert (status(order), order.history.count()) == (closed, history)
    assert StoredMessage.objects.count() == messages + 1  # the command itself
    assert not QueuedMessage.objects.filter(consumer="purchase").exists()


@pytest.mark.parametrize("batch", [None, 1], ids=["one batch", "batches of 1"])
@pytest.mark.parametrize("withdrawn_first", [True, False])
def test_order_created_and_withdrawn_in_any_sequence_is_cancelled(
    withdrawn_first: bool, batch: int | None
) -> None:
    purchase_order_id, other_id = uuid4(), uuid4()
    commands = [withdraw(purchase_order_id), create(purchase_order_id, chair=5)]
    ordered = commands if withdrawn_first else commands[::-1]
    handle_commands(*ordered, create(other_id, desk=1), batch=batch)
    order = PurchaseOrder.objects.get(id=purchase_order_id)
    assert status(order) == "cancelled"
    assert len(published_messages(PurchaseOrderCancelled)) == 1
    assert PurchaseOrder.objects.get(id=other_id).status == "open"
    with pytest.raises(PurchaseOrderCannotBeReceived):
        receive(order)
    assert not QueuedMessage.objects.filter(consumer="purchase").exists()


def test_order_withdrawn_before_creation_has_no_lines() -> None:
    purchase_order_id = uuid4()
    handle_commands(withdraw(purchase_order_id))
    handle_commands(create(purchase_order_id, chair=5))
    handle_commands(create(purchase_order_id, chair=5))
    assert PurchaseOrder.objects.get(id=purchase_order_id).status == "cancelled"
    assert not PurchaseOrderLine.objects.exists()


def test_batch_of_withdrawals_needs_constant_number_of_queries(
    django_assert_max_num_queries: Any,
) -> None:
    drafts = [PurchaseOrderDraft(lines=unpegged(chair=1)) for _ in range(100)]
    orders = create_purchase_orders(drafts)
    unknown = [withdraw(uuid4()) for _ in range(10)]
    with django_assert_max_num_queries(40):
        handle_commands(*(withdraw(order.id) for order in orders), *unknown)
    assert PurchaseOrder.objects.filter(status="cancelled").count() == 110


# -- overdue, reschedule -------------------------------------------------------------------------


def test_default_expected_date_is_lead_time_from_now(settings: Settings) -> None:
    settings.ORDERFLOW_LEAD_TIME = timedelta(days=3)
    order = purchase_order(chair=5)
    assert order.expected_at - order.ordered_at == timedelta(days=3)
    assert (mark_overdue(), is_overdue(order)) == (0, False)


def test_overdue_purchase_order_is_marked_and_published_once() -> None:
    order, order_on_time = purchase_order(expected_at=yesterday(), chair=5), purchase_order(desk=1)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    assert (is_overdue(order), is_overdue(order_on_time)) == (True, False)
    [event] = published_messages(PurchaseOrderOverdue)
    assert event["purchase_order_id"] == str(order.id)


@pytest.mark.parametrize(
    ("close", "closed"),
    [
        (lambda order: receive(order), "received"),
        (lambda order: close_short([order.id], actor="Ada"), "closed_short"),
        (lambda order: cancel_purchase_orders([order.id], actor="Ada"), "cancelled"),
    ],
    ids=["received", "closed_short", "cancelled"],
)
def test_closed_purchase_order_is_not_overdue(
    close: Callable[[PurchaseOrder], object], closed: str
) -> None:
    marked, unmarked = (purchase_order(expected_at=yesterday(), chair=5) for _ in range(2))
    close(unmarked)
    assert mark_overdue() == 1
    close(marked)
    assert status(marked) == closed
    assert (is_overdue(marked), is_overdue(unmarked)) == (False, False)


def test_rescheduled_order_becomes_overdue_again_after_new_date() -> None:
    order = purchase_order(expected_at=yesterday(), chair=5)
    mark_overdue()
    reschedule(order.id, timezone.now() + timedelta(days=1), actor="Ada", reason="strike")
    assert (is_overdue(order), mark_overdue()) == (False, 0)
    entry = order.history.get()
    assert (entry.actor, entry.reason) == ("Ada", "strike")
    assert entry.description.startswith("rescheduled to 20")
    reschedule(order.id, timezone.now(), actor="Ada")
    assert mark_overdue() == 1
    assert len(published_messages(PurchaseOrderOverdue)) == 2


def test_reschedule_to_same_date_changes_nothing() -> None:
    order = purchase_order(expected_at=yesterday(), chair=5)
    mark_overdue()
    reschedule(order.id, order.expected_at, actor="Ada")
    assert (is_overdue(order), order.history.count()) == (True, 0)


@pytest.mark.parametrize("closed", ["received", "closed_short", "cancelled"])
def test_rejects_rescheduling_closed_purchase_order(closed: str) -> None:
    order = order_with_status(closed)
    with pytest.raises(PurchaseOrderClosed, match=f"its status is {closed.replace('_', ' ')}"):
        reschedule(order.id, timezone.now(), actor="Ada")


def test_rejects_rescheduling_unknown_purchase_order() -> None:
    with pytest.raises(PurchaseOrderNotFound):
        reschedule(uuid4(), timezone.now(), actor="Ada")


def test_task_marks_overdue_orders_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("purchase.services.overdue.OVERDUE_BATCH_SIZE", 2)
    for _ in range(5):
        purchase_order(expected_at=yesterday(), chair=1)
    mark_overdue_orders()
    assert PurchaseOrder.objects.filter(overdue=True).count() == 5
