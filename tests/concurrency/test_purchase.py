"""Two at once on Purchase's orders: receipts reported twice, more of them than was ordered, and orders that end meanwhile."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, transaction
from django.db.models import Sum

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Received
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import (
    CancelPurchaseOrder,
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
)
from purchase.models import PurchaseOrder, PurchaseOrderLine, PurchaseOrderQuerySet, Receipt, ReceiptLine
from purchase.receiving import (
    MoreThanOrdered,
    NothingOutstanding,
    PurchaseOrderCannotBeCancelled,
    PurchaseOrderCannotBeClosedShort,
)
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    ReceiptTaken,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    receive_goods,
    take,
)
from purchase.services.work import Work
from tests.concurrency.conftest import announced
from tests.concurrency.threads import Act, locked_in_opposite_orders, meet, pile_up, refused, without_locks
from tests.conftest import lines

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

WRITING = (Work, "save")  # everything is locked and decided, nothing is written
ORDER_INSERTED = (PurchaseOrderLine.objects, "bulk_create")  # and not committed
RECEIPT_INSERTED = (ReceiptLine.objects, "bulk_create")  # and not committed


# -- the same receipt -----------------------------------------------------------------------------------------------------


def test_a_receipt_that_is_reported_twice_at_once_counts_once() -> None:
    # Seen to fail: without the purchase order's lock, see the next test; and with `_known` looked up before the lock is there.
    report = receiving(ordered(chair=2), receipt=uuid4())

    reported = meet(report, report, at=WRITING)

    assert reported.second_waited
    assert reported.first == reported.second == [Receipt.objects.get()]
    assert (received(), announced(GoodsReceived)) == (2, 1)


def test_without_the_lock_the_primary_key_stops_the_receipt_that_is_reported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    report = receiving(ordered(chair=2), receipt=uuid4())
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    reported = meet(report, report, at=WRITING)

    assert not reported.second_waited  # it wrote first; the first met the primary key, and looked once more
    assert reported.first == reported.second == [Receipt.objects.get()]
    assert (received(), announced(GoodsReceived)) == (2, 1)


def test_it_refuses_a_receipt_id_that_another_purchase_order_uses_at_the_same_moment() -> None:
    # Seen to fail: where nobody expects the primary key to object, the second ends in an IntegrityError.
    receipt = uuid4()
    report, report_elsewhere = receiving(ordered(chair=2), receipt=receipt), receiving(ordered(table=1), receipt=receipt)

    reported = meet(report, refused(ReceiptTaken, report_elsewhere), at=RECEIPT_INSERTED)

    assert reported.second_waited
    assert (received(), announced(GoodsReceived)) == (2, 1)


# -- more than was ordered ------------------------------------------------------------------------------------------------


def test_two_receipts_at_once_never_exceed_what_was_ordered() -> None:
    # Seen to fail: without the purchase order's lock, see below.
    order = ordered(chair=3)

    reported = meet(receiving(order, 2), refused(MoreThanOrdered, receiving(order, 2)), at=WRITING)

    assert reported.second_waited
    assert (received(), announced(GoodsReceived)) == (2, 1)


def test_all_that_is_outstanding_is_received_once() -> None:
    # Seen to fail: without the purchase order's lock, see the next test.
    order = ordered(chair=3)

    reported = meet(receiving(order), refused(NothingOutstanding, receiving(order)), at=WRITING)

    assert reported.second_waited
    assert (received(), announced(GoodsReceived)) == (3, 1)


def without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of receipts, which are counted under the lock, would keep two of them apart as well."""
    numbers, original = itertools.count(1000), Receipt.__init__

    def number_it_somehow(receipt: Receipt, *args: Any, **fields: Any) -> None:
        if "number" in fields:
            fields["number"] = next(numbers)
        original(receipt, *args, **fields)

    monkeypatch.setattr(Receipt, "__init__", number_it_somehow)


@pytest.mark.parametrize("chairs", [2, None])
def test_without_the_lock_more_is_received_than_was_ordered(monkeypatch: pytest.MonkeyPatch, chairs: int | None) -> None:
    order = ordered(chair=3)
    without_locks(monkeypatch, PurchaseOrderQuerySet)
    without_numbers(monkeypatch)

    reported = meet(receiving(order, chairs), receiving(order, chairs), at=WRITING)

    assert not reported.second_waited
    assert received() > 3
    assert PurchaseOrderLine.objects.get().received <= 3  # each wrote what it believed: the constraint has nothing to object to


# -- the end of a purchase order ------------------------------------------------------------------------------------------


def test_a_purchase_order_whose_goods_are_being_received_cannot_be_cancelled() -> None:
    # Seen to fail: without the purchase order's lock, see below.
    order = ordered(chair=2)

    meeting = meet(receiving(order, 1), refused(PurchaseOrderCannotBeCancelled, cancelling(order)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("partially_received", 1, 0, 0)


def test_goods_for_a_purchase_order_that_is_being_cancelled_are_refused() -> None:
    # Seen to fail: without the purchase order's lock, see the next test.
    order = ordered(chair=2)

    meeting = meet(cancelling(order), refused(NothingOutstanding, receiving(order, 1)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("cancelled", 0, 1, 0)


@pytest.mark.parametrize("received_first", [True, False])
def test_without_the_lock_goods_are_received_for_what_was_cancelled(
    monkeypatch: pytest.MonkeyPatch, received_first: bool
) -> None:
    order = ordered(chair=2)
    receive, cancel = receiving(order, 1), cancelling(order)
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(*((receive, cancel) if received_first else (cancel, receive)), at=WRITING)

    assert not meeting.second_waited
    assert (announced(GoodsReceived), announced(PurchaseOrderCancelled)) == (1, 1)


@pytest.mark.parametrize("received_first", [True, False])
def test_a_purchase_order_that_is_given_up_while_goods_arrive_is_kept_or_cancelled_and_never_both(received_first: bool) -> None:
    # Seen to fail: without the purchase order's lock both are announced.
    order = ordered(chair=2)
    give_up = giving_up(order)

    if received_first:
        meeting = meet(receiving(order, 1), give_up, at=WRITING)
    else:
        meeting = meet(give_up, refused(NothingOutstanding, receiving(order, 1)), at=WRITING)

    assert meeting.second_waited
    assert ended() == (("partially_received", 1, 0, 0) if received_first else ("cancelled", 0, 1, 0))


def test_a_purchase_order_is_closed_short_of_what_is_just_being_received() -> None:
    # Seen to fail: without the purchase order's lock, see below.
    order = ordered(chair=2)

    meeting = meet(receiving(order, 1), closing_short(order), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("closed_short", 1, 0, 1)


def test_goods_for_a_purchase_order_that_is_being_closed_short_are_refused() -> None:
    # Seen to fail: without the purchase order's lock, see the next test.
    order = ordered(chair=2)

    meeting = meet(closing_short(order), refused(NothingOutstanding, receiving(order)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("closed_short", 0, 0, 1)


def test_without_the_lock_a_purchase_order_is_open_again_after_it_was_closed_short(monkeypatch: pytest.MonkeyPatch) -> None:
    order = ordered(chair=2)
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(receiving(order, 1), closing_short(order), at=WRITING)

    assert not meeting.second_waited
    assert ended() == ("partially_received", 1, 0, 1)


def test_what_is_complete_meanwhile_is_not_closed_short() -> None:
    # Seen to fail: without the purchase order's lock it is told twice that nothing more will come.
    order = ordered(chair=2)

    meeting = meet(receiving(order), refused(PurchaseOrderCannotBeClosedShort, closing_short(order)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("received", 1, 0, 0)


def test_a_purchase_order_that_is_closed_short_while_it_is_cancelled_is_cancelled() -> None:
    # Seen to fail: without the purchase order's lock, see below.
    order = ordered(chair=2)

    meeting = meet(cancelling(order), refused(PurchaseOrderCannotBeClosedShort, closing_short(order)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("cancelled", 0, 1, 0)


def test_a_purchase_order_that_is_cancelled_while_it_is_closed_short_is_closed_short() -> None:
    # Seen to fail: without the purchase order's lock, see the next test.
    order = ordered(chair=2)

    meeting = meet(closing_short(order), refused(PurchaseOrderCannotBeCancelled, cancelling(order)), at=WRITING)

    assert meeting.second_waited
    assert ended() == ("closed_short", 0, 0, 1)


def test_without_the_lock_a_purchase_order_ends_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = ordered(chair=2)
    without_locks(monkeypatch, PurchaseOrderQuerySet)

    meeting = meet(closing_short(order), cancelling(order), at=WRITING)

    assert not meeting.second_waited
    assert (announced(PurchaseOrderCancelled), announced(PurchaseOrderClosedShort)) == (1, 1)


@pytest.mark.parametrize("end", ["cancel", "close short"])
def test_a_purchase_order_that_is_ended_twice_at_once_ends_once(end: str) -> None:
    # Seen to fail: without the purchase order's lock it is announced twice.
    order = ordered(chair=2)
    act = cancelling(order) if end == "cancel" else closing_short(order)

    meeting = meet(act, act, at=WRITING)

    assert meeting.second_waited
    assert ended() == (("cancelled", 0, 1, 0) if end == "cancel" else ("closed_short", 0, 0, 1))


# -- opposite orders ------------------------------------------------------------------------------------------------------


def test_receipts_for_the_same_purchase_orders_in_opposite_order_do_not_deadlock() -> None:
    # Seen to fail: with the purchase orders locked in two different orders, see the next test.
    orders = [ordered(chair=2) for _ in range(3)]

    pile_up(receiving_one_each(orders), receiving_one_each(orders[::-1]), holding=partial(lock, sorted(orders)[1]))

    assert (received(), announced(GoodsReceived)) == (6, 6)


def test_without_one_order_of_locking_they_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [ordered(chair=2) for _ in range(3)]
    locked_in_opposite_orders(monkeypatch, PurchaseOrderQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        pile_up(receiving_one_each(orders), receiving_one_each(orders[::-1]), holding=partial(lock, sorted(orders)[1]))


# -- the same purchase order ----------------------------------------------------------------------------------------------


def test_a_purchase_order_that_is_created_twice_at_once_is_one() -> None:
    # Seen to fail: without `once_more_if_taken`, the second ends in an IntegrityError.
    order = NewPurchaseOrder(lines=pegged(lines(chair=2)))

    created = meet(lambda: create_purchase_orders([order]), lambda: create_purchase_orders([order]), at=ORDER_INSERTED)

    assert created.second_waited
    assert created.first == created.second == [PurchaseOrder.objects.get()]


# -- acts -----------------------------------------------------------------------------------------------------------------


def ordered(**quantities: int) -> UUID:
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged(lines(**quantities)))])
    return order.id


def pegged(quantities: Sequence[ProductQuantity]) -> list[PeggedQuantity]:
    return [PeggedQuantity(product_id=each.product_id, quantity=each.quantity) for each in quantities]


def receiving(purchase_order: UUID, chairs: int | None = None, *, receipt: UUID | None = None) -> Act:
    """Reports so many chairs, or all that is outstanding; under a new id, unless one is given."""
    quantities = lines(chair=chairs) if chairs else None
    arrival = Arrival(purchase_order_id=purchase_order, lines=quantities, id=receipt or uuid4())
    return lambda: receive_goods([arrival])


def receiving_one_each(purchase_orders: Sequence[UUID]) -> Act:
    one = lines(chair=1)
    return lambda: receive_goods([Arrival(purchase_order_id=each, lines=one) for each in purchase_orders])


def cancelling(purchase_order: UUID) -> Act:
    return lambda: cancel_purchase_orders([purchase_order], by="bob")


def closing_short(purchase_order: UUID) -> Act:
    return lambda: close_short([purchase_order], by="bob")


def giving_up(purchase_order: UUID) -> Act:
    """Purchase's consumer with the word that nobody needs it any more; without the consumer's lock."""
    command = CancelPurchaseOrder(purchase_order_id=purchase_order, requester_id=uuid4())
    with transaction.atomic():
        [stored] = publish([Outgoing(message=command)])

    def take_it() -> None:
        with transaction.atomic():
            take([Received(id=stored, message=command)])

    return take_it


def lock(purchase_order: UUID) -> None:
    PurchaseOrder.objects.select_for_update(no_key=True).get(id=purchase_order)


# -- what is there in the end ---------------------------------------------------------------------------------------------


def received() -> int:
    """How much arrived, by the receipts."""
    total: int = ReceiptLine.objects.aggregate(quantity=Sum("quantity"))["quantity"]
    return total


def ended() -> tuple[str, int, int, int]:
    """The status of the one purchase order, and how often receipts, its cancellation and its closing short were announced."""
    cancelled, closed = announced(PurchaseOrderCancelled), announced(PurchaseOrderClosedShort)
    return PurchaseOrder.objects.get().status, announced(GoodsReceived), cancelled, closed
