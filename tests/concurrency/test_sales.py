"""Concurrent placing, deciding and handling of messages about one sales order."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone

from purchase.contract import GoodsReceived
from sales.contract import (
    SalesOrderCancelled,
    SalesOrderChanged,
    SalesOrderCreated,
    SalesOrderDelivered,
)
from sales.models import (
    LinkedPurchaseOrder,
    OrderStatus,
    OrderStatusChange,
    OrderStatusQuerySet,
    SalesOrder,
    SalesOrderLine,
)
from sales.process_manager import (
    SalesOrderCannotBeCancelled,
    SalesOrderCannotBeChanged,
    SalesOrderCannotBeDelivered,
)
from sales.services import (
    RevisionConflict,
    SalesOrderAlreadyExists,
    SalesOrderDraft,
    cancel_orders,
    change_order,
    deliver_orders,
    handle_messages,
    place_orders,
)
from sales.services.work import Work
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ShipReservation,
)
from tests.concurrency.helpers import handled_by, published_count
from tests.concurrency.threads import (
    Call,
    lock_in_opposite_orders,
    meet,
    rejected,
    run_behind_lock,
    without_locks,
)
from tests.conftest import add_stock, drain_all, lines

pytestmark = [pytest.mark.postgresql_only, pytest.mark.django_db(transaction=True)]

# Everything is locked and decided; a new order is inserted, and not committed.
SAVING = (Work, "save")


def new_order(*, delivery_mode: str = "automatic") -> UUID:
    """Place a sales order of 1 chair; Stock has not replied."""
    [order] = place_orders([SalesOrderDraft(lines=lines(chair=1), delivery_mode=delivery_mode)])
    return order.id


def deliverable_order() -> UUID:
    add_stock(chair=1)
    order = new_order(delivery_mode="manual")
    drain_all()
    return order


def status() -> str:
    return OrderStatus.objects.get().status


def times_entered(to_status: str) -> int:
    return OrderStatusChange.objects.filter(to_status=to_status).count()


def ordered_quantity() -> int:
    return SalesOrderLine.objects.get().quantity


def delivering(*order_ids: UUID) -> Call:
    return lambda: deliver_orders(order_ids, actor="ann")


def cancelling(order_id: UUID) -> Call:
    return lambda: cancel_orders([order_id], actor="bob")


def changing(order_id: UUID, *, revision: int | None = None, chairs: int) -> Call:
    new_lines = lines(chair=chairs)
    return lambda: change_order(order_id, new_lines, actor="bob", revision=revision)


def placing(draft: SalesOrderDraft) -> Call:
    return lambda: place_orders([draft])


def closing_purchase_order(order_id: UUID) -> Call:
    """Handle the final receipt of a linked purchase order."""
    purchase_order_id = uuid4()
    LinkedPurchaseOrder.objects.create(
        purchase_order_id=purchase_order_id,
        order_status_id=order_id,
        request_number=1,
        ordered_at=timezone.now(),
    )
    message = GoodsReceived(
        purchase_order_id=purchase_order_id, receipt_id=uuid4(), lines=(), final=True
    )
    return handled_by(handle_messages, message)


def accepting(order_id: UUID) -> Call:
    """Handle Stock's reply to the first reservation request: accepted."""
    message = ReservationAccepted(reservation_id=order_id, revision=1, request_number=1)
    return handled_by(handle_messages, message)


def lock(order_id: UUID) -> None:
    OrderStatus.objects.select_for_update(no_key=True).get(order=order_id)


# -- deliver -------------------------------------------------------------------------------------


def test_concurrent_deliveries_deliver_once() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_delivers_twice.
    order = deliverable_order()

    meeting = meet(delivering(order), delivering(order), at=SAVING)

    assert meeting.second_waited
    assert (published_count(SalesOrderDelivered), published_count(ShipReservation)) == (1, 1)
    assert times_entered("delivered") == 1


def test_missing_lock_delivers_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meeting = meet(delivering(order), delivering(order), at=SAVING)

    assert not meeting.second_waited
    assert (published_count(SalesOrderDelivered), published_count(ShipReservation)) == (2, 2)


def test_delivery_while_message_is_handled_is_kept() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_overwrites_delivery.
    order = deliverable_order()

    meeting = meet(closing_purchase_order(order), delivering(order), at=SAVING)

    assert meeting.second_waited
    assert status() == "delivered"


def test_missing_lock_overwrites_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(closing_purchase_order(order), delivering(order), at=SAVING)

    assert published_count(SalesOrderDelivered) == 1
    assert status() == "deliverable"


def test_deliveries_in_opposite_order_do_not_deadlock() -> None:
    # Fails if OrderStatus rows are locked in different orders: see
    # test_opposite_lock_order_of_order_statuses_deadlocks.
    orders = [deliverable_order() for _ in range(3)]

    run_behind_lock(
        delivering(*orders), delivering(*orders[::-1]), lock=partial(lock, sorted(orders)[1])
    )

    assert published_count(SalesOrderDelivered) == 3


def test_opposite_lock_order_of_order_statuses_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [deliverable_order() for _ in range(3)]
    lock_in_opposite_orders(monkeypatch, OrderStatusQuerySet)

    with pytest.raises(OperationalError, match="deadlock detected"):
        run_behind_lock(
            delivering(*orders), delivering(*orders[::-1]), lock=partial(lock, sorted(orders)[1])
        )


# -- cancel --------------------------------------------------------------------------------------


def test_rejects_cancellation_during_delivery() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_ships_and_releases.
    order = deliverable_order()

    meeting = meet(
        delivering(order), rejected(SalesOrderCannotBeCancelled, cancelling(order)), at=SAVING
    )

    assert meeting.second_waited
    assert status() == "delivered"
    assert (published_count(ShipReservation), published_count(ReleaseReservation)) == (1, 0)


def test_rejects_delivery_during_cancellation() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_ships_and_releases.
    order = deliverable_order()

    meeting = meet(
        cancelling(order), rejected(SalesOrderCannotBeDelivered, delivering(order)), at=SAVING
    )

    assert meeting.second_waited
    assert status() == "cancelled"
    assert (published_count(ShipReservation), published_count(ReleaseReservation)) == (0, 1)


@pytest.mark.parametrize("delivery_first", [True, False])
def test_missing_lock_ships_and_releases(
    monkeypatch: pytest.MonkeyPatch, delivery_first: bool
) -> None:
    order = deliverable_order()
    calls = [delivering(order), cancelling(order)]
    without_locks(monkeypatch, OrderStatusQuerySet)

    meeting = meet(*(calls if delivery_first else calls[::-1]), at=SAVING)

    assert not meeting.second_waited
    assert (published_count(ShipReservation), published_count(ReleaseReservation)) == (1, 1)


def test_concurrent_cancellations_cancel_once() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_cancels_twice.
    order = deliverable_order()

    meeting = meet(cancelling(order), cancelling(order), at=SAVING)

    assert meeting.second_waited
    assert (published_count(SalesOrderCancelled), published_count(ReleaseReservation)) == (1, 1)
    assert times_entered("cancelled") == 1


def test_missing_lock_cancels_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meeting = meet(cancelling(order), cancelling(order), at=SAVING)

    assert not meeting.second_waited
    assert (published_count(SalesOrderCancelled), published_count(ReleaseReservation)) == (2, 2)


def test_acceptance_during_cancellation_does_not_deliver() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_delivers_and_cancels.
    order = new_order()
    accept = accepting(order)

    meeting = meet(cancelling(order), accept, at=SAVING)

    assert meeting.second_waited
    assert status() == "cancelled"
    # The second release is a safeguard.
    assert (published_count(ShipReservation), published_count(ReleaseReservation)) == (0, 2)


def test_rejects_cancellation_during_automatic_delivery() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_delivers_and_cancels.
    order = new_order()
    accept = accepting(order)

    meeting = meet(accept, rejected(SalesOrderCannotBeCancelled, cancelling(order)), at=SAVING)

    assert meeting.second_waited
    assert status() == "delivered"
    assert (published_count(ShipReservation), published_count(ReleaseReservation)) == (1, 0)


@pytest.mark.parametrize("cancellation_first", [True, False])
def test_missing_lock_delivers_and_cancels(
    monkeypatch: pytest.MonkeyPatch, cancellation_first: bool
) -> None:
    order = new_order()
    calls = [cancelling(order), accepting(order)]
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(*(calls if cancellation_first else calls[::-1]), at=SAVING)

    assert (published_count(SalesOrderDelivered), published_count(SalesOrderCancelled)) == (1, 1)


# -- change --------------------------------------------------------------------------------------


def test_concurrent_changes_use_different_request_numbers() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_repeats_request_number.
    order = deliverable_order()

    meeting = meet(changing(order, chairs=2), changing(order, chairs=3), at=SAVING)

    assert meeting.second_waited
    assert published_count(SalesOrderChanged) == 2
    assert OrderStatus.objects.get().request_number == 3
    assert ordered_quantity() == 3


def test_missing_lock_repeats_request_number(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    # The second waits only when it writes the lines.
    meet(changing(order, chairs=2), changing(order, chairs=3), at=SAVING)

    assert published_count(SalesOrderChanged) == 2
    assert OrderStatus.objects.get().request_number == 2


def test_rejects_delivery_during_change() -> None:
    # Fails without the lock of the OrderStatus: see test_missing_lock_delivers_changed_order.
    order = deliverable_order()

    meeting = meet(
        changing(order, chairs=2),
        rejected(SalesOrderCannotBeDelivered, delivering(order)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert status() == "awaiting_stock_reservation"
    assert published_count(ShipReservation) == 0


def test_missing_lock_delivers_changed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order = deliverable_order()
    without_locks(monkeypatch, OrderStatusQuerySet)

    meet(changing(order, chairs=2), delivering(order), at=SAVING)

    assert (published_count(SalesOrderChanged), published_count(ShipReservation)) == (1, 1)
    assert ordered_quantity() == 2  # and 1 is reserved


def test_rejects_change_during_delivery() -> None:
    # Fails without the lock of the OrderStatus: the change is made.
    order = deliverable_order()

    meeting = meet(
        delivering(order),
        rejected(SalesOrderCannotBeChanged, changing(order, chairs=2)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert status() == "delivered"
    assert ordered_quantity() == 1


# -- revision ------------------------------------------------------------------------------------


def test_stale_acceptance_during_change_does_not_deliver() -> None:
    # Fails if the revision is a column of SalesOrder, which the waiting query only joins.
    order = new_order()
    accept = accepting(order)

    meeting = meet(changing(order, chairs=2), accept, at=SAVING)

    assert meeting.second_waited
    assert status() == "awaiting_stock_reservation"
    assert published_count(ShipReservation) == 0


def test_rejects_change_of_revision_during_other_change() -> None:
    # Fails if the revision is a column of SalesOrder, which the waiting query only joins.
    order = deliverable_order()

    meeting = meet(
        changing(order, revision=1, chairs=2),
        rejected(RevisionConflict, changing(order, revision=1, chairs=3)),
        at=SAVING,
    )

    assert meeting.second_waited
    assert ordered_quantity() == 2


def test_concurrent_changes_make_two_revisions() -> None:
    # Fails if the revision is a column of SalesOrder, which the waiting query only joins.
    order = deliverable_order()

    meet(changing(order, chairs=2), changing(order, chairs=3), at=SAVING)

    assert OrderStatus.objects.get().revision == 3


# -- place ---------------------------------------------------------------------------------------


def test_order_placed_twice_exists_once() -> None:
    # Fails without `retry_on_unique_violation`: the second call raises IntegrityError.
    draft = SalesOrderDraft(lines=lines(chair=1))

    placed = meet(placing(draft), placing(draft), at=SAVING)

    assert placed.second_waited
    assert placed.first == placed.second == [SalesOrder.objects.get()]
    assert (published_count(SalesOrderCreated), published_count(MakeReservation)) == (1, 1)


def test_rejects_reference_of_concurrent_order() -> None:
    # Fails without `retry_on_unique_violation`: the second call raises IntegrityError.
    draft, other_draft = (
        SalesOrderDraft(reference="SO-1", lines=lines(chair=quantity)) for quantity in (1, 2)
    )

    placed = meet(
        placing(draft), rejected(SalesOrderAlreadyExists, placing(other_draft)), at=SAVING
    )

    assert placed.second_waited
    assert placed.first == [SalesOrder.objects.get()]
    assert published_count(SalesOrderCreated) == 1
