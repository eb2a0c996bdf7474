"""Two at once on sales orders: placed, delivered, cancelled and changed by people, while messages advance them."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from orderflow.messaging.messages import Message, Received
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived
from sales.contract import SalesOrderCancelled, SalesOrderChanged, SalesOrderCreated, SalesOrderDelivered
from sales.models import OrderPurchase, OrderStatus, OrderStatusChange, OrderStatusQuerySet, SalesOrder, SalesOrderLine
from sales.process_manager import OrderCannotBeCancelled, OrderCannotBeChanged, OrderCannotBeDelivered
from sales.services import (
    NewOrder,
    OrderTaken,
    OrderWasChanged,
    advance,
    cancel_orders,
    change_order,
    deliver_orders,
    place_orders,
)
from sales.services.work import Work
from stock.contract import MakeReservation, ReleaseReservation, ReservationAccepted, ShipReservation
from tests.concurrency.conftest import announced, put_on_the_shelf
from tests.concurrency.threads import Act, locked_in_opposite_orders, meet, pile_up, refused, without_locks
from tests.conftest import lines, settle

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

WRITING = (Work, "save")  # everything is locked and decided; a new order is inserted, but not committed


# -- delivering -----------------------------------------------------------------------------------------------------------


def test_an_order_that_is_delivered_twice_at_once_is_delivered_once() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    delivered = meet(delivering(order), delivering(order), at=WRITING)

    assert delivered.second_waited
    assert (announced(SalesOrderDelivered), announced(ShipReservation)) == (1, 1)
    assert OrderStatusChange.objects.filter(to_state="delivered").count() == 1


def test_without_the_lock_it_is_delivered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    delivered = meet(delivering(order), delivering(order), at=WRITING)

    assert not delivered.second_waited
    assert (announced(SalesOrderDelivered), announced(ShipReservation)) == (2, 2)


def test_an_order_that_is_delivered_while_its_process_advances_stays_delivered() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    meeting = meet(closing(order), delivering(order), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "delivered"


def test_without_the_lock_it_becomes_deliverable_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(closing(order), delivering(order), at=WRITING)

    assert announced(SalesOrderDelivered) == 1
    assert OrderStatus.objects.get().state == "deliverable"


def test_the_same_orders_delivered_in_opposite_order_do_not_deadlock() -> None:
    # Seen to fail: with the OrderStatus rows locked in two different orders, see the next test.
    orders = [deliverable_order() for _ in range(3)]

    pile_up(delivering(*orders), delivering(*orders[::-1]), holding=partial(lock, sorted(orders)[1]))

    assert announced(SalesOrderDelivered) == 3


def test_without_one_order_of_locking_they_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [deliverable_order() for _ in range(3)]
    locked_in_opposite_orders(monkeypatch, OrderStatusQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        pile_up(delivering(*orders), delivering(*orders[::-1]), holding=partial(lock, sorted(orders)[1]))


# -- cancelling -----------------------------------------------------------------------------------------------------------


def test_an_order_that_is_cancelled_while_it_is_delivered_stays_delivered() -> None:
    # Seen to fail: without the lock of its OrderStatus, see below.
    order = deliverable_order()

    meeting = meet(delivering(order), refused(OrderCannotBeCancelled, cancelling(order)), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "delivered"
    assert (announced(ShipReservation), announced(ReleaseReservation)) == (1, 0)


def test_an_order_that_is_delivered_while_it_is_cancelled_stays_cancelled() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    meeting = meet(cancelling(order), refused(OrderCannotBeDelivered, delivering(order)), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "cancelled"
    assert (announced(ShipReservation), announced(ReleaseReservation)) == (0, 1)


@pytest.mark.parametrize("delivered_first", [True, False])
def test_without_the_lock_what_is_shipped_is_released_as_well(monkeypatch: pytest.MonkeyPatch, delivered_first: bool) -> None:
    order = deliverable_order()
    deliver, cancel = delivering(order), cancelling(order)
    without_locks(monkeypatch, OrderStatusQuerySet)

    meeting = meet(*((deliver, cancel) if delivered_first else (cancel, deliver)), at=WRITING)

    assert not meeting.second_waited
    assert (announced(ShipReservation), announced(ReleaseReservation)) == (1, 1)


def test_an_order_that_is_cancelled_twice_at_once_is_cancelled_once() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    cancelled = meet(cancelling(order), cancelling(order), at=WRITING)

    assert cancelled.second_waited
    assert (announced(SalesOrderCancelled), announced(ReleaseReservation)) == (1, 1)
    assert OrderStatusChange.objects.filter(to_state="cancelled").count() == 1


def test_without_the_lock_it_is_cancelled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    cancelled = meet(cancelling(order), cancelling(order), at=WRITING)

    assert not cancelled.second_waited
    assert (announced(SalesOrderCancelled), announced(ReleaseReservation)) == (2, 2)


def test_what_stock_accepts_while_the_order_is_cancelled_is_released_and_not_delivered() -> None:
    # Seen to fail: without the lock of its OrderStatus, see below.
    order = new_order(delivery="automatic")
    accept = accepting(order)

    meeting = meet(cancelling(order), accept, at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "cancelled"
    assert (announced(ShipReservation), announced(ReleaseReservation)) == (0, 2)  # the second is the belt


def test_an_order_that_is_cancelled_while_stocks_answer_delivers_it_stays_delivered() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = new_order(delivery="automatic")
    accept = accepting(order)

    meeting = meet(accept, refused(OrderCannotBeCancelled, cancelling(order)), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "delivered"
    assert (announced(ShipReservation), announced(ReleaseReservation)) == (1, 0)


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_without_the_lock_an_order_is_delivered_and_cancelled(monkeypatch: pytest.MonkeyPatch, cancelled_first: bool) -> None:
    order = new_order(delivery="automatic")
    cancel, accept = cancelling(order), accepting(order)
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(*((cancel, accept) if cancelled_first else (accept, cancel)), at=WRITING)

    assert (announced(SalesOrderDelivered), announced(SalesOrderCancelled)) == (1, 1)


# -- changing -------------------------------------------------------------------------------------------------------------


def test_of_two_changes_at_once_the_second_is_made_to_what_the_first_left() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    changed = meet(changing(order, chair=2), changing(order, chair=3), at=WRITING)

    assert changed.second_waited
    assert announced(SalesOrderChanged) == 2
    assert OrderStatus.objects.get().request == 3
    assert SalesOrderLine.objects.get().quantity == 3


def test_without_the_lock_two_changes_ask_stock_the_same_question_for_different_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(changing(order, chair=2), changing(order, chair=3), at=WRITING)  # the second waits only where it writes the lines

    assert announced(SalesOrderChanged) == 2
    assert OrderStatus.objects.get().request == 2


def test_an_order_that_is_delivered_while_it_is_changed_is_not_delivered() -> None:
    # Seen to fail: without the lock of its OrderStatus, see the next test.
    order = deliverable_order()

    meeting = meet(changing(order, chair=2), refused(OrderCannotBeDelivered, delivering(order)), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "awaiting_stock_reservation"
    assert announced(ShipReservation) == 0


def test_without_the_lock_what_was_not_asked_for_any_more_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(changing(order, chair=2), delivering(order), at=WRITING)

    assert (announced(SalesOrderChanged), announced(ShipReservation)) == (1, 1)
    assert SalesOrderLine.objects.get().quantity == 2  # and one was promised


def test_an_order_that_is_changed_while_it_is_delivered_stays_as_it_was() -> None:
    # Seen to fail: without the lock of its OrderStatus the change goes through.
    order = deliverable_order()

    meeting = meet(delivering(order), refused(OrderCannotBeChanged, changing(order, chair=2)), at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "delivered"
    assert SalesOrderLine.objects.get().quantity == 1


# -- the revision --------------------------------------------------------------------------------------------------------


def test_stocks_answer_for_what_was_wanted_before_delivers_nothing_although_the_order_is_just_being_changed() -> None:
    # Seen to fail: with the revision on the SalesOrder, which the query that waits for the lock only joins.
    order = new_order(delivery="automatic")
    accept = accepting(order)

    meeting = meet(changing(order, chair=2), accept, at=WRITING)

    assert meeting.second_waited
    assert OrderStatus.objects.get().state == "awaiting_stock_reservation"
    assert announced(ShipReservation) == 0


def test_it_refuses_a_change_to_a_revision_that_is_just_being_changed() -> None:
    # Seen to fail: with the revision on the SalesOrder, which the query that waits for the lock only joins.
    order = deliverable_order()

    changed = meet(
        changing(order, revision=1, chair=2), refused(OrderWasChanged, changing(order, revision=1, chair=3)), at=WRITING
    )

    assert changed.second_waited
    assert SalesOrderLine.objects.get().quantity == 2


def test_two_changes_at_once_are_two_revisions() -> None:
    # Seen to fail: with the revision on the SalesOrder, which the query that waits for the lock only joins.
    order = deliverable_order()

    meet(changing(order, chair=2), changing(order, chair=3), at=WRITING)

    assert OrderStatus.objects.get().revision == 3


# -- placing --------------------------------------------------------------------------------------------------------------


def test_an_order_that_is_placed_twice_at_once_is_one_order() -> None:
    # Seen to fail: without `once_more_if_taken`, the second ends in an IntegrityError.
    order = NewOrder(lines=lines(chair=1))

    placed = meet(placing(order), placing(order), at=WRITING)

    assert placed.second_waited
    assert placed.first == placed.second == [SalesOrder.objects.get()]
    assert (announced(SalesOrderCreated), announced(MakeReservation)) == (1, 1)


def test_it_refuses_a_reference_that_another_order_gets_at_the_same_moment() -> None:
    # Seen to fail: without `once_more_if_taken`, the second ends in an IntegrityError.
    order, another_order = (NewOrder(reference="SO-1", lines=lines(chair=quantity)) for quantity in (1, 2))

    placed = meet(placing(order), refused(OrderTaken, placing(another_order)), at=WRITING)

    assert placed.second_waited
    assert placed.first == [SalesOrder.objects.get()]
    assert announced(SalesOrderCreated) == 1


# -- acts -----------------------------------------------------------------------------------------------------------------


def deliverable_order() -> UUID:
    put_on_the_shelf(chair=1)
    order = new_order(delivery="manual")
    settle()
    return order


def new_order(*, delivery: str) -> UUID:
    """Wants a chair, and Stock has not answered yet."""
    [order] = place_orders([NewOrder(lines=lines(chair=1), delivery=delivery)])
    return order.id


def delivering(*sales_orders: UUID) -> Act:
    return lambda: deliver_orders(sales_orders, by="ann")


def cancelling(sales_order: UUID) -> Act:
    return lambda: cancel_orders([sales_order], by="bob")


def changing(sales_order: UUID, *, revision: int | None = None, **quantities: int) -> Act:
    wanted = lines(**quantities)
    return lambda: change_order(sales_order, wanted, by="bob", revision=revision)


def placing(order: NewOrder) -> Act:
    return lambda: place_orders([order])


def closing(sales_order: UUID) -> Act:
    """The process manager with the word that all goods are there, which it hears after Stock's; without the consumer's lock."""
    bought = uuid4()
    OrderPurchase.objects.create(purchase_order_id=bought, status_id=sales_order, request=1, ordered_at=timezone.now())
    return hearing(GoodsReceived(purchase_order_id=bought, receipt_id=uuid4(), lines=(), complete=True))


def accepting(sales_order: UUID) -> Act:
    """The process manager with Stock's answer to the first question; without the consumer's lock."""
    return hearing(ReservationAccepted(reservation_id=sales_order, revision=1, request=1))


def hearing(message: Message) -> Act:
    with transaction.atomic():
        [stored] = publish([Outgoing(message=message)])

    def advance_it() -> None:
        with transaction.atomic():
            advance([Received(id=stored, message=message)])

    return advance_it


def lock(sales_order: UUID) -> None:
    OrderStatus.objects.select_for_update(no_key=True).get(order=sales_order)
