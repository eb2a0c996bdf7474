from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import NoLines
from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder, PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from purchase.receiving import (
    MoreThanOrdered,
    NothingOutstanding,
    NotOnTheOrder,
    PurchaseOrderCannotBeCancelled,
    PurchaseOrderCannotBeClosedShort,
)
from purchase.services import (
    Arrival,
    NewPurchaseOrder,
    NoSuchPurchaseOrder,
    PurchaseOrderEnded,
    PurchaseOrderTaken,
    ReceiptTaken,
    cancel_purchase_orders,
    close_short,
    create_purchase_orders,
    expect_goods,
    mark_overdue,
    receive_goods,
)
from purchase.tasks import look_at_the_clock
from tests.conftest import lines, product

pytestmark = pytest.mark.django_db(transaction=True)


def ordered(**quantities: int) -> PurchaseOrder:
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged(**quantities))])
    return order


def pegged(**quantities: int) -> list[PeggedQuantity]:
    return [PeggedQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines(**quantities)]


def received(order: PurchaseOrder) -> dict[str, int]:
    return dict(PurchaseOrderLine.objects.filter(order=order).values_list("product__sku", "received"))


def status(order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=order.id).status


def test_goods_arrive_in_parts() -> None:
    order = ordered(chair=5, desk=1)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2))])
    assert (status(order), received(order)) == ("partially_received", {"chair": 2, "desk": 0})
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 5, "desk": 1})
    said = StoredMessage.objects.filter(type="purchase.GoodsReceived").order_by("id")
    assert [row.payload["complete"] for row in said] == [False, True]


def test_a_receipt_that_is_reported_twice_counts_once() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=2))
    [first] = receive_goods([arrival])
    [again] = receive_goods([arrival])
    assert first == again
    assert received(order) == {"chair": 2}
    assert StoredMessage.objects.filter(type="purchase.GoodsReceived").count() == 1


def test_a_receipt_that_is_named_twice_in_one_call_counts_once() -> None:
    arrival = Arrival(purchase_order_id=(order := ordered(chair=5)).id, lines=lines(chair=2))
    first, again = receive_goods([arrival, arrival])
    assert first == again
    assert received(order) == {"chair": 2}


def test_a_receipt_of_everything_that_is_reported_twice_counts_once() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id)
    receive_goods([arrival])
    receive_goods([arrival])
    assert received(order) == {"chair": 5}


def test_it_rejects_another_receipt_under_an_id_that_is_taken() -> None:
    order = ordered(chair=5)
    arrival = Arrival(purchase_order_id=order.id, lines=lines(chair=2))
    receive_goods([arrival])
    with pytest.raises(ReceiptTaken):
        receive_goods([Arrival(id=arrival.id, purchase_order_id=order.id, lines=lines(chair=3))])
    with pytest.raises(ReceiptTaken):
        receive_goods([Arrival(id=arrival.id, purchase_order_id=ordered(chair=2).id, lines=lines(chair=2))])


def test_it_rejects_more_than_was_ordered_and_receives_nothing_of_the_others() -> None:
    order, other = ordered(chair=5), ordered(desk=1)
    with pytest.raises(MoreThanOrdered, match="only 5 × chair are still to come, not 6"):
        receive_goods([Arrival(purchase_order_id=other.id), Arrival(purchase_order_id=order.id, lines=lines(chair=6))])
    assert received(other) == {"desk": 0}
    assert not Receipt.objects.exists()


def test_it_rejects_goods_for_a_complete_order() -> None:
    order = ordered(chair=5)
    receive_goods([Arrival(purchase_order_id=order.id)])
    with pytest.raises(NothingOutstanding, match="is complete"):
        receive_goods([Arrival(purchase_order_id=order.id)])


def test_it_rejects_goods_for_an_order_that_does_not_exist() -> None:
    with pytest.raises(NoSuchPurchaseOrder):
        receive_goods([Arrival(purchase_order_id=uuid4())])


def test_it_rejects_a_receipt_of_nothing() -> None:
    with pytest.raises(NoLines):
        receive_goods([Arrival(purchase_order_id=ordered(chair=1).id, lines=[])])


def test_two_receipts_of_one_order_in_one_call_follow_each_other() -> None:
    order = ordered(chair=5)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2)), Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 5})


def test_the_same_purchase_order_under_its_id_is_one() -> None:
    order = NewPurchaseOrder(lines=pegged(chair=5))
    create_purchase_orders([order])
    create_purchase_orders([order])
    assert PurchaseOrder.objects.count() == 1


def test_it_rejects_another_purchase_order_under_an_id_or_a_reference_that_is_taken() -> None:
    order = NewPurchaseOrder(lines=pegged(chair=5), reference="P-1")
    create_purchase_orders([order])
    with pytest.raises(PurchaseOrderTaken, match="id"):
        create_purchase_orders([NewPurchaseOrder(id=order.id, lines=pegged(chair=6))])
    with pytest.raises(PurchaseOrderTaken, match="reference"):
        create_purchase_orders([NewPurchaseOrder(lines=pegged(chair=6), reference="P-1")])


def test_goods_of_one_product_keep_their_pegs() -> None:
    mine, yours = uuid4(), uuid4()
    chair = product("chair")
    pegs = [PeggedQuantity(product_id=chair, quantity=2, bought_for=each) for each in (mine, yours)]
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegs)])
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=3))])
    said = StoredMessage.objects.get(type="purchase.GoodsReceived").payload["lines"]
    assert [(line["bought_for"], line["quantity"]) for line in said] == [(str(mine), 2), (str(yours), 1)]


# -- cancelling, closing short, giving up ---------------------------------------------------------------------------------


def in_status(wanted: str) -> PurchaseOrder:
    """A purchase order of five chairs that came to this status as such orders do."""
    order = ordered(chair=5)
    if wanted == "partially_received":
        receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2))])
    elif wanted == "received":
        receive_goods([Arrival(purchase_order_id=order.id)])
    elif wanted == "closed_short":
        close_short([order.id], by="Grace")
    elif wanted == "cancelled":
        cancel_purchase_orders([order.id], by="Grace")
    assert status(order) == wanted
    return order


def hear(*commands: Message, batch: int | None = None) -> None:
    """Purchase hears these commands: in one batch, or in batches of this size."""
    with transaction.atomic():
        publish([Outgoing(message=command) for command in commands])
    drain("purchase", batch=batch)


def give_up(purchase_order_id: UUID) -> CancelPurchaseOrder:
    return CancelPurchaseOrder(purchase_order_id=purchase_order_id, requester_id=uuid4())


def create(purchase_order_id: UUID, **quantities: int) -> CreatePurchaseOrder:
    return CreatePurchaseOrder(purchase_order_id=purchase_order_id, requester_id=uuid4(), lines=tuple(pegged(**quantities)))


def said(name: str) -> int:
    """How often Purchase said so."""
    return StoredMessage.objects.filter(type=f"purchase.{name}").count()


def test_a_purchase_order_is_cancelled_once_and_says_who_did_it_and_why() -> None:
    order = ordered(chair=5)
    cancel_purchase_orders([order.id], by="Ada", reason="sold out")
    cancel_purchase_orders([order.id, order.id], by="Grace")
    assert (status(order), said("PurchaseOrderCancelled")) == ("cancelled", 1)
    change = order.changes.get()
    assert (change.from_status, change.to_status, change.by, change.reason) == ("open", "cancelled", "Ada", "sold out")


@pytest.mark.parametrize("ended", ["partially_received", "received", "closed_short"])
def test_it_rejects_cancelling_what_has_arrived_or_was_closed_and_cancels_none_of_the_others(ended: str) -> None:
    order, other = in_status(ended), ordered(desk=1)
    with pytest.raises(PurchaseOrderCannotBeCancelled, match=order.reference):
        cancel_purchase_orders([other.id, order.id], by="Ada")
    assert (status(order), status(other), said("PurchaseOrderCancelled")) == (ended, "open", 0)


@pytest.mark.parametrize("before", ["open", "partially_received"])
def test_the_rest_of_a_purchase_order_is_closed_short_once(before: str) -> None:
    order = in_status(before)
    close_short([order.id], by="Ada", reason="discontinued")
    close_short([order.id, order.id], by="Grace")
    assert (status(order), said("PurchaseOrderClosedShort")) == ("closed_short", 1)
    change = order.changes.get()
    assert (change.from_status, change.to_status, change.by, change.reason) == (before, "closed_short", "Ada", "discontinued")
    with pytest.raises(NothingOutstanding, match="was closed short"):
        receive_goods([Arrival(purchase_order_id=order.id)])


@pytest.mark.parametrize("ended", ["received", "cancelled"])
def test_it_rejects_closing_short_what_has_ended_and_closes_none_of_the_others(ended: str) -> None:
    order, other = in_status(ended), ordered(desk=1)
    with pytest.raises(PurchaseOrderCannotBeClosedShort, match=order.reference):
        close_short([other.id, order.id], by="Ada")
    assert (status(order), status(other), said("PurchaseOrderClosedShort")) == (ended, "open", 0)


@pytest.mark.parametrize("act", [cancel_purchase_orders, close_short])
def test_it_rejects_ending_a_purchase_order_that_does_not_exist(act: Callable[..., None]) -> None:
    other = ordered(desk=1)
    with pytest.raises(NoSuchPurchaseOrder):
        act([other.id, uuid4()], by="Ada")
    assert status(other) == "open"


def test_goods_for_a_cancelled_purchase_order_are_refused() -> None:
    with pytest.raises(NothingOutstanding, match="was cancelled"):
        receive_goods([Arrival(purchase_order_id=in_status("cancelled").id, lines=lines(chair=1))])


def test_what_nobody_needs_any_more_is_cancelled_once_and_names_the_message() -> None:
    order = ordered(chair=5)
    hear(give_up(order.id), give_up(order.id))
    hear(give_up(order.id))
    assert (status(order), said("PurchaseOrderCancelled")) == ("cancelled", 1)
    assert order.changes.get().message_id == StoredMessage.objects.filter(type="purchase.CancelPurchaseOrder").earliest("id").pk


def test_what_nobody_needs_any_more_is_kept_if_a_part_has_arrived_and_says_so() -> None:
    order = in_status("partially_received")
    hear(give_up(order.id))
    assert (status(order), said("PurchaseOrderCancelled")) == ("partially_received", 0)
    assert "kept: a part has arrived" in order.changes.get().what
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert status(order) == "received"


@pytest.mark.parametrize("ended", ["received", "closed_short", "cancelled"])
def test_giving_up_what_has_ended_changes_nothing_and_is_no_dead_letter(ended: str) -> None:
    order = in_status(ended)
    changes, told = order.changes.count(), StoredMessage.objects.count()
    hear(give_up(order.id))
    assert (status(order), order.changes.count(), StoredMessage.objects.count()) == (ended, changes, told + 1)
    assert not Delivery.objects.filter(consumer="purchase").exists()


@pytest.mark.parametrize("batch", [None, 1], ids=["together", "one by one"])
@pytest.mark.parametrize("given_up_first", [True, False])
def test_what_is_given_up_around_the_moment_it_is_asked_for_is_not_ordered(given_up_first: bool, batch: int | None) -> None:
    purchase_order_id, other = uuid4(), uuid4()
    commands = [give_up(purchase_order_id), create(purchase_order_id, chair=5)]
    hear(*(commands if given_up_first else commands[::-1]), create(other, desk=1), batch=batch)
    order = PurchaseOrder.objects.get(id=purchase_order_id)
    assert (status(order), said("PurchaseOrderCancelled")) == ("cancelled", 1)
    assert PurchaseOrder.objects.get(id=other).status == "open"
    with pytest.raises(NothingOutstanding):
        receive_goods([Arrival(purchase_order_id=purchase_order_id)])
    assert not Delivery.objects.filter(consumer="purchase").exists()


def test_what_was_given_up_before_it_came_is_a_tombstone_without_lines() -> None:
    purchase_order_id = uuid4()
    hear(give_up(purchase_order_id))
    hear(create(purchase_order_id, chair=5))
    hear(create(purchase_order_id, chair=5))
    assert PurchaseOrder.objects.get(id=purchase_order_id).status == "cancelled"
    assert not PurchaseOrderLine.objects.exists()


def test_a_hundred_are_given_up_with_a_constant_number_of_queries(django_assert_max_num_queries: Any) -> None:
    orders = create_purchase_orders([NewPurchaseOrder(lines=pegged(chair=1)) for _ in range(100)])
    with django_assert_max_num_queries(40):
        hear(*(give_up(order.id) for order in orders), *(give_up(uuid4()) for _ in range(10)))
    assert PurchaseOrder.objects.filter(status="cancelled").count() == 110


# -- more than was ordered ------------------------------------------------------------------------------------------------


def test_more_than_was_ordered_may_come_up_to_the_tolerance(settings: Any) -> None:
    settings.ORDERFLOW_OVER_RECEIPT = 10
    order = ordered(chair=20, desk=9)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=21))])
    assert (status(order), received(order)) == ("partially_received", {"chair": 21, "desk": 0})
    with pytest.raises(MoreThanOrdered, match=r"only 0 × chair are still to come \(and 1 more are tolerated\), not 2"):
        receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=2))])
    with pytest.raises(MoreThanOrdered, match="only 9 × desk are still to come, not 10"):  # a tenth of nine is none
        receive_goods([Arrival(purchase_order_id=order.id, lines=lines(desk=10))])
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=1, desk=9))])
    assert (status(order), received(order)) == ("received", {"chair": 22, "desk": 9})
    completed = [row.payload["complete"] for row in StoredMessage.objects.filter(type="purchase.GoodsReceived").order_by("id")]
    assert completed == [False, True]


def test_all_that_is_still_to_come_is_no_more_than_was_ordered_whatever_is_tolerated(settings: Any) -> None:
    settings.ORDERFLOW_OVER_RECEIPT = 100
    order = ordered(chair=5, desk=1)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=10))])
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 10, "desk": 1})


def test_a_tolerance_that_is_lowered_later_takes_nothing_back(settings: Any) -> None:
    settings.ORDERFLOW_OVER_RECEIPT = 100
    order = ordered(chair=5, desk=1)
    receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=8))])
    settings.ORDERFLOW_OVER_RECEIPT = 0
    with pytest.raises(MoreThanOrdered, match="only 0 × chair are still to come, not 1"):
        receive_goods([Arrival(purchase_order_id=order.id, lines=lines(chair=1))])
    receive_goods([Arrival(purchase_order_id=order.id)])
    assert (status(order), received(order)) == ("received", {"chair": 8, "desk": 1})


def test_what_was_not_ordered_is_refused_whatever_is_tolerated(settings: Any) -> None:
    settings.ORDERFLOW_OVER_RECEIPT = 100
    with pytest.raises(NotOnTheOrder):
        receive_goods([Arrival(purchase_order_id=ordered(chair=5).id, lines=lines(lamp=1))])


# -- what is late ---------------------------------------------------------------------------------------------------------


def late(**quantities: int) -> PurchaseOrder:
    yesterday = timezone.now() - timedelta(days=1)
    [order] = create_purchase_orders([NewPurchaseOrder(lines=pegged(**quantities), expected_at=yesterday)])
    return order


def overdue(order: PurchaseOrder) -> bool:
    return PurchaseOrder.objects.get(id=order.id).overdue


def test_a_purchase_order_is_expected_after_the_lead_time(settings: Any) -> None:
    settings.ORDERFLOW_LEAD_TIME = timedelta(days=3)
    order = ordered(chair=5)
    assert order.expected_at - order.ordered_at == timedelta(days=3)
    assert (mark_overdue(), overdue(order)) == (0, False)


def test_a_purchase_order_that_is_late_is_marked_and_announced_once() -> None:
    order, punctual = late(chair=5), ordered(chair=5)
    assert (mark_overdue(), mark_overdue()) == (1, 0)
    assert (overdue(order), overdue(punctual)) == (True, False)
    event = StoredMessage.objects.get(type="purchase.PurchaseOrderOverdue")
    assert event.payload["purchase_order_id"] == str(order.id)


@pytest.mark.parametrize("end", ["received", "closed_short", "cancelled"])
def test_what_has_ended_is_not_late(end: str) -> None:
    acts: dict[str, Callable[[PurchaseOrder], object]] = {
        "received": lambda order: receive_goods([Arrival(purchase_order_id=order.id)]),
        "closed_short": lambda order: close_short([order.id], by="Ada"),
        "cancelled": lambda order: cancel_purchase_orders([order.id], by="Ada"),
    }
    marked, not_yet = late(chair=5), late(chair=5)
    acts[end](not_yet)
    assert mark_overdue() == 1
    acts[end](marked)
    assert (status(marked), overdue(marked), overdue(not_yet)) == (end, False, False)


def test_goods_that_are_expected_later_are_late_only_then_and_announced_anew() -> None:
    order = late(chair=5)
    mark_overdue()
    expect_goods(order.id, timezone.now() + timedelta(days=1), by="Ada", reason="strike")
    assert (overdue(order), mark_overdue()) == (False, 0)
    change = order.changes.get()
    assert (change.by, change.reason, change.what.startswith("expected 20")) == ("Ada", "strike", True)
    expect_goods(order.id, timezone.now(), by="Ada")
    assert (mark_overdue(), said("PurchaseOrderOverdue")) == (1, 2)


def test_expecting_goods_on_the_same_day_changes_nothing() -> None:
    order = late(chair=5)
    mark_overdue()
    expect_goods(order.id, order.expected_at, by="Ada")
    assert (overdue(order), order.changes.count()) == (True, 0)


@pytest.mark.parametrize("ended", ["received", "closed_short", "cancelled"])
def test_it_rejects_expecting_what_has_ended(ended: str) -> None:
    with pytest.raises(PurchaseOrderEnded, match="nothing of it is expected any more"):
        expect_goods(in_status(ended).id, timezone.now(), by="Ada")


def test_it_rejects_expecting_a_purchase_order_that_does_not_exist() -> None:
    with pytest.raises(NoSuchPurchaseOrder):
        expect_goods(uuid4(), timezone.now(), by="Ada")


def test_more_than_one_transaction_marks_are_all_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("purchase.services.MARKED_AT_ONCE", 2)
    chair, yesterday = PeggedQuantity(product_id=product("chair"), quantity=1), timezone.now() - timedelta(days=1)
    create_purchase_orders([NewPurchaseOrder(lines=[chair], expected_at=yesterday) for _ in range(5)])
    look_at_the_clock()
    assert PurchaseOrder.objects.filter(overdue=True).count() == 5
