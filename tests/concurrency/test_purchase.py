"""Concurrent receipts and decisions about one purchase order."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from django.db.models import Sum

from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    WithdrawPurchaseOrder,
)
from purchase.lifecycle import (
    PurchaseOrderCannotBeCancelled,
    PurchaseOrderCannotBeClosedShort,
    PurchaseOrderCannotBeReceived,
    QuantityExceedsOrdered,
)
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderLine,
    PurchaseOrderQuerySet,
    Receipt,
    ReceiptLine,
)
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptAlreadyExists,
    ReceiptDraft,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    handle_messages,
    receive_goods,
)
from purchase.services.work import Work
from tests.concurrency.helpers import handled_by, published_count
from tests.concurrency.threads import (
    Call,
    lock_in_opposite_orders,
    meet,
    rejected,
    run_behind_lock,
    without_locks,
)
from tests.conftest import lines
from tests.purchase.helpers import unpegged

pytestmark = [pytest.mark.postgresql_only, pytest.mark.django_db(transaction=True)]

SAVING = (Work, "save")  # everything is locked and decided, nothing is written
ORDER_INSERTED = (PurchaseOrderLine.objects, "bulk_create")  # and not committed
RECEIPT_INSERTED = (ReceiptLine.objects, "bulk_create")  # and not committed


class Outcome(NamedTuple):
    """The status of the purchase order, and how many events were published."""

    status: str
    received: int = 0
    cancelled: int = 0
    closed_short: int = 0


def outcome() -> Outcome:
    return Outcome(
        status=PurchaseOrder.objects.get().status,
        received=published_count(GoodsReceived),
        cancelled=published_count(PurchaseOrderCancelled),
        closed_short=published_count(PurchaseOrderClosedShort),
    )


def received() -> int:
    """Return the received quantity, by the receipts."""
    total: int = ReceiptLine.objects.aggregate(total=Sum("quantity"))["total"]
    return total


def new_order(sku: str = "chair", quantity: int = 2) -> UUID:
    draft = PurchaseOrderDraft(lines=unpegged(**{sku: quantity}))
    return create_purchase_orders([draft])[0].id


def receiving(
    purchase_order_id: UUID, chairs: int | None = None, *, receipt_id: UUID | None = None
) -> Call:
    """Receive this number of chairs, by default everything outstanding."""
    draft = ReceiptDraft(
        purchase_order_id=purchase_order_id,
        lines=lines(chair=chairs) if chairs else None,
        id=receipt_id or uuid4(),
    )
    return lambda: receive_goods([draft])


def receiving_one_each(purchase_order_ids: Sequence[UUID]) -> Call:
    one = lines(chair=1)
    drafts = [ReceiptDraft(purchase_order_id=each, lines=one) for each in purchase_order_ids]
    return lambda: receive_goods(drafts)


def cancelling(purchase_order_id: UUID) -> Call:
    return lambda: cancel_purchase_orders([purchase_order_id], actor="bob")


def closing_short(purchase_order_id: UUID) -> Call:
    return lambda: close_short([purchase_order_id], actor="bob")


def withdrawing(purchase_order_id: UUID) -> Call:
    command = WithdrawPurchaseOrder(purchase_order_id=purchase_order_id, requester_id=uuid4())
    return handled_by(handle_messages, command)


def lock(purchase_order_id: UUID) -> None:
    PurchaseOrder.objects.select_for_update(no_key=True).get(id=purchase_order_id)


# -- one receipt, reported twice -----------------------------------------------------------------


def test_repeated_receipt_is_recorded_once() -> None:
    # Fails without the lock of the purchase order: see
    # test_primary_key_rejects_repeated_receipt_without_lock. Fails also if the receipts are read
    # before the lock is held.
    report = receiving(new_order(), receipt_id=uuid4())

    reported = meet(report, report, at=SAVING)

    assert reported.second_waited
    assert reported.first == reported.second == [Receipt.objects.get()]
    assert (received(), published_count(GoodsReceived)) == (2, 1)


def test_primary_key_rejects_repeated_receipt_without_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = receiving(new_order(), receipt_id=uuid4())
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    reported = meet(report, report, at=SAVING)

    # The second inserted first; the first violated the primary key and was repeated.
    assert not reported.second_waited
    assert reported.first == reported.second == [Receipt.objects.get()]
    assert (received(), published_count(GoodsReceived)) == (2, 1)


def test_rejects_receipt_id_of_concurrent_receipt() -> None:
    # Fails without `retry_on_unique_violation`: the second call raises IntegrityError.
    receipt_id = uuid4()
    receive = receiving(new_order(), receipt_id=receipt_id)
    receive_other = receiving(new_order("table", 1), receipt_id=receipt_id)

    meeting = meet(receive, rejected(ReceiptAlreadyExists, receive_other), at=RECEIPT_INSERTED)

    assert meeting.second_waited
    assert (received(), published_count(GoodsReceived)) == (2, 1)


# -- quantities ----------------------------------------------------------------------------------


def test_rejects_concurrent_receipt_above_ordered_quantity() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_receives_more_than_ordered.
    order = new_order(quantity=3)

    meeting = meet(
        receiving(order, 2), rejected(QuantityExceedsOrdered, receiving(order, 2)), at=SAVING
    )

    assert meeting.second_waited
    assert (received(), published_count(GoodsReceived)) == (2, 1)


def test_rejects_second_receipt_of_everything_outstanding() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_receives_more_than_ordered.
    order = new_order(quantity=3)

    meeting = meet(
        receiving(order), rejected(PurchaseOrderCannotBeReceived, receiving(order)), at=SAVING
    )

    assert meeting.second_waited
    assert (received(), published_count(GoodsReceived)) == (3, 1)


@pytest.mark.parametrize("chairs", [2, None])
def test_missing_lock_receives_more_than_ordered(
    monkeypatch: pytest.MonkeyPatch, chairs: int | None
) -> None:
    order = new_order(quantity=3)
    without_locks(monkeypatch, PurchaseOrderQuerySet)
    use_distinct_sequence_numbers(monkeypatch)

    meeting = meet(receiving(order, chairs), receiving(order, chairs), at=SAVING)

    assert not meeting.second_waited
    assert received() > 3
    # Each wrote the sum that it computed, so no constraint is violated.
    assert PurchaseOrderLine.objects.get().received <= 3


def use_distinct_sequence_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the protection by sequence numbers, which are counted under the lock."""
    numbers, original = itertools.count(1000), Receipt.__init__

    def init(receipt: Receipt, *args: Any, **fields: Any) -> None:
        if "sequence_number" in fields:
            fields["sequence_number"] = next(numbers)
        original(receipt, *args, **fields)

    monkeypatch.setattr(Receipt, "__init__", init)


# -- receipt and decision ------------------------------------------------------------------------


def test_rejects_cancellation_during_receipt() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_receives_goods_of_cancelled_order.
    order = new_order()

    meeting = meet(
        receiving(order, 1),
        rejected(PurchaseOrderCannotBeCancelled, cancelling(order)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert outcome() == Outcome("partially_received", received=1)


def test_rejects_receipt_during_cancellation() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_receives_goods_of_cancelled_order.
    order = new_order()

    meeting = meet(
        cancelling(order), rejected(PurchaseOrderCannotBeReceived, receiving(order, 1)), at=SAVING
    )

    assert meeting.second_waited
    assert outcome() == Outcome("cancelled", cancelled=1)


@pytest.mark.parametrize("receipt_first", [True, False])
def test_missing_lock_receives_goods_of_cancelled_order(
    monkeypatch: pytest.MonkeyPatch, receipt_first: bool
) -> None:
    order = new_order()
    calls = [receiving(order, 1), cancelling(order)]
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(*(calls if receipt_first else calls[::-1]), at=SAVING)

    assert not meeting.second_waited
    assert (outcome().received, outcome().cancelled) == (1, 1)


def test_withdrawal_during_receipt_keeps_order() -> None:
    # Fails without the lock of the purchase order: receipt and cancellation are both published.
    order = new_order()
    withdraw = withdrawing(order)

    meeting = meet(receiving(order, 1), withdraw, at=SAVING)

    assert meeting.second_waited
    assert outcome() == Outcome("partially_received", received=1)


def test_rejects_receipt_during_withdrawal() -> None:
    # Fails without the lock of the purchase order: receipt and cancellation are both published.
    order = new_order()
    withdraw = withdrawing(order)

    meeting = meet(
        withdraw, rejected(PurchaseOrderCannotBeReceived, receiving(order, 1)), at=SAVING
    )

    assert meeting.second_waited
    assert outcome() == Outcome("cancelled", cancelled=1)


def test_close_short_during_receipt_keeps_receipt() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_reopens_order_closed_short.
    order = new_order()

    meeting = meet(receiving(order, 1), closing_short(order), at=SAVING)

    assert meeting.second_waited
    assert outcome() == Outcome("closed_short", received=1, closed_short=1)


def test_missing_lock_reopens_order_closed_short(monkeypatch: pytest.MonkeyPatch) -> None:
    order = new_order()
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(receiving(order, 1), closing_short(order), at=SAVING)

    assert not meeting.second_waited
    assert outcome() == Outcome("partially_received", received=1, closed_short=1)


def test_rejects_receipt_during_close_short() -> None:
    # Fails without the lock of the purchase order: see
    # test_missing_lock_reopens_order_closed_short.
    order = new_order()

    meeting = meet(
        closing_short(order), rejected(PurchaseOrderCannotBeReceived, receiving(order)), at=SAVING
    )

    assert meeting.second_waited
    assert outcome() == Outcome("closed_short", closed_short=1)


def test_rejects_close_short_during_complete_receipt() -> None:
    # Fails without the lock of the purchase order: its closing is published twice.
    order = new_order()

    meeting = meet(
        receiving(order),
        rejected(PurchaseOrderCannotBeClosedShort, closing_short(order)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert outcome() == Outcome("received", received=1)


# -- two decisions -------------------------------------------------------------------------------


def test_rejects_close_short_during_cancellation() -> None:
    # Fails without the lock of the purchase order: see test_missing_lock_closes_order_twice.
    order = new_order()

    meeting = meet(
        cancelling(order),
        rejected(PurchaseOrderCannotBeClosedShort, closing_short(order)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert outcome() == Outcome("cancelled", cancelled=1)


def test_rejects_cancellation_during_close_short() -> None:
    # Fails without the lock of the purchase order: see test_missing_lock_closes_order_twice.
    order = new_order()

    meeting = meet(
        closing_short(order),
        rejected(PurchaseOrderCannotBeCancelled, cancelling(order)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert outcome() == Outcome("closed_short", closed_short=1)


def test_missing_lock_closes_order_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = new_order()
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(closing_short(order), cancelling(order), at=SAVING)

    assert not meeting.second_waited
    assert (outcome().cancelled, outcome().closed_short) == (1, 1)


@pytest.mark.parametrize(
    ("closing", "expected"),
    [
        (cancelling, Outcome("cancelled", cancelled=1)),
        (closing_short, Outcome("closed_short", closed_short=1)),
    ],
)
def test_concurrent_repeated_decision_closes_order_once(
    closing: Callable[[UUID], Call], expected: Outcome
) -> None:
    # Fails without the lock of the purchase order: its closing is published twice.
    order = new_order()

    meeting = meet(closing(order), closing(order), at=SAVING)

    assert meeting.second_waited
    assert outcome() == expected


# -- lock order ----------------------------------------------------------------------------------


def test_receipts_in_opposite_order_do_not_deadlock() -> None:
    # Fails if purchase orders are locked in different orders: see
    # test_opposite_lock_order_of_purchase_orders_deadlocks.
    orders = [new_order() for _ in range(3)]

    run_behind_lock(
        receiving_one_each(orders),
        receiving_one_each(orders[::-1]),
        lock=partial(lock, sorted(orders)[1]),
    )

    assert (received(), published_count(GoodsReceived)) == (6, 6)


def test_opposite_lock_order_of_purchase_orders_deadlocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = [new_order() for _ in range(3)]
    lock_in_opposite_orders(monkeypatch, PurchaseOrderQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        run_behind_lock(
            receiving_one_each(orders),
            receiving_one_each(orders[::-1]),
            lock=partial(lock, sorted(orders)[1]),
        )


# -- creation ------------------------------------------------------------------------------------


def test_purchase_order_created_twice_exists_once() -> None:
    # Fails without `retry_on_unique_violation`: the second call raises IntegrityError.
    create = partial(create_purchase_orders, [PurchaseOrderDraft(lines=unpegged(chair=2))])

    created = meet(create, create, at=ORDER_INSERTED)

    assert created.second_waited
    assert created.first == created.second == [PurchaseOrder.objects.get()]
