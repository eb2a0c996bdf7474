"""Two at once on sales orders: placed twice, delivered twice, and advanced while a person delivers."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from orderflow.messaging.messages import Received
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived
from sales.contract import SalesOrderCreated, SalesOrderDelivered
from sales.models import OrderPurchase, OrderStatus, OrderStatusChange, OrderStatusQuerySet, SalesOrder
from sales.services import NewOrder, OrderTaken, advance, deliver_orders, place_orders
from sales.services.work import Work
from stock.contract import MakeReservation, ShipReservation
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
    [order] = place_orders([NewOrder(lines=lines(chair=1), delivery="manual")])
    settle()
    return order.id


def delivering(*sales_orders: UUID) -> Act:
    return lambda: deliver_orders(sales_orders, by="ann")


def placing(order: NewOrder) -> Act:
    return lambda: place_orders([order])


def closing(sales_order: UUID) -> Act:
    """The process manager with the word that all goods are there, which it hears after Stock's; without the consumer's lock."""
    bought = uuid4()
    OrderPurchase.objects.create(purchase_order_id=bought, status_id=sales_order, request=1, ordered_at=timezone.now())
    received = GoodsReceived(purchase_order_id=bought, receipt_id=uuid4(), lines=(), complete=True)
    with transaction.atomic():
        [stored] = publish([Outgoing(message=received)])

    def advance_it() -> None:
        with transaction.atomic():
            advance([Received(id=stored, message=received)])

    return advance_it


def lock(sales_order: UUID) -> None:
    OrderStatus.objects.select_for_update(no_key=True).get(order=sales_order)
