"""The audit finds no violation in any state that Orderflow can reach, and every seeded fault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from orderflow.core.database import snapshot
from orderflow.messaging.consuming import drain
from orderflow.messaging.models import QueuedMessage, QueuedMessageStatus, StoredMessage
from orderflow.operations.audit import audit
from purchase.models import PurchaseOrder, PurchaseOrderLine
from purchase.services import ReceiptDraft, close_short, receive_goods
from sales.models import (
    LinkedPurchaseOrder,
    LinkedPurchaseOrderLine,
    OrderStatus,
    OrderStatusChange,
    SalesOrder,
)
from sales.services import SalesOrderDraft, cancel_orders, change_order, place_orders
from stock.models import Reservation, ReservationLine, StockLevel, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.conftest import drain_all, lines, product
from tests.purchase.helpers import receive
from tests.saved_rows import create_once

pytestmark = pytest.mark.django_db(transaction=True)

Orders = Mapping[str, UUID]  # ids of the sales orders by reference


def violated() -> list[str]:
    return [check.invariant for check in audit() if check.violations]


@pytest.fixture
def orders() -> Orders:
    """Five sales orders: delivered, deliverable, cancelled, and two that await goods."""
    return create_once(_create_orders)


def _create_orders() -> Orders:
    opening = Adjustment(product_id=product("chair"), quantity=9, reason="opening stock")
    adjust_stock([opening], actor="Ada")
    drafts = [
        SalesOrderDraft(reference="delivered", lines=lines(chair=2)),
        SalesOrderDraft(reference="deliverable", lines=lines(chair=2), delivery_mode="manual"),
        SalesOrderDraft(reference="cancelled", lines=lines(chair=1), delivery_mode="manual"),
        SalesOrderDraft(reference="awaiting goods", lines=lines(desk=3)),
        SalesOrderDraft(reference="awaiting goods too", lines=lines(desk=3)),
    ]
    ids = {draft.reference: draft.id for draft in drafts}
    place_orders(drafts)
    drain_all()
    cancel_orders([ids["cancelled"]], actor="Ada")
    drain_all()
    return ids


def test_audit_finds_no_violation_after_any_step(orders: Orders) -> None:
    assert violated() == []
    place_orders([SalesOrderDraft(lines=lines(lamp=1))])
    assert violated() == []
    for consumer in ("stock", "sales", "purchase", "stock", "sales"):
        drain(consumer, batch=1)
        assert violated() == []
    short, *others = PurchaseOrder.objects.open()
    receipt = receive(short, desk=1)
    assert violated() == []
    close_short([short.id], actor="Ada")
    assert violated() == []
    receive_goods([ReceiptDraft(purchase_order_id=each.id) for each in others])
    assert violated() == []
    drain("sales")  # before Stock has recorded the receipts
    assert violated() == []
    change_order(orders["deliverable"], lines(chair=1, lamp=1), actor="Ada")
    assert violated() == []
    cancel_orders([orders["awaiting goods"]], actor="Ada")
    assert violated() == []
    drain_all()
    assert violated() == []
    reversal = Reversal(
        receipt_id=receipt.id, product_id=product("desk"), quantity=1, reason="miscounted"
    )
    reverse_receipt(reversal, actor="Ada")
    assert violated() == []
    drain_all()
    assert violated() == []


# -- seeded faults: each function breaks one thing and names the invariant that it violates ------


Seed = Callable[[Orders], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    invariant: str
    seed: Seed


FAULTS: list[Fault] = []


def violates(invariant: str) -> Callable[[Seed], Seed]:
    """Register a function as a fault that violates this invariant."""

    def register(seed: Seed) -> Seed:
        FAULTS.append(Fault(invariant=invariant, seed=seed))
        return seed

    return register


@violates("every sales order has a status")
def delete_status(orders: Orders) -> None:
    OrderStatus.objects.filter(order=orders["delivered"]).delete()


@violates("every status equals the last history entry")
def delete_history(orders: Orders) -> None:
    OrderStatusChange.objects.filter(order_status=orders["delivered"]).delete()


@violates("every order awaiting goods has an open linked purchase order")
def swap_awaited_purchase_orders(orders: Orders) -> None:
    first, second = LinkedPurchaseOrder.objects.all()
    first_status = OrderStatus.objects.filter(order=first.order_status_id)
    second_status = OrderStatus.objects.filter(order=second.order_status_id)
    first_status.update(purchase_order_id=uuid4())
    second_status.update(purchase_order_id=first.purchase_order_id)
    first_status.update(purchase_order_id=second.purchase_order_id)


@violates("reserved equals the sum of the reservations")
def increase_reserved(orders: Orders) -> None:
    StockLevel.objects.filter(product=product("chair")).update(reserved=3)


@violates("on hand equals the sum of the stock ledger")
def delete_adjustment_from_ledger(orders: Orders) -> None:
    StockMovement.objects.filter(movement_type="adjusted").delete()


@violates("reserved equals the sum of the stock ledger")
def delete_reservations_from_ledger(orders: Orders) -> None:
    StockMovement.objects.filter(movement_type="reserved").delete()


@violates("accepted reservations are fully reserved")
def reduce_accepted_reservation(orders: Orders) -> None:
    ReservationLine.objects.filter(reservation=orders["deliverable"]).update(reserved=1)


@violates("released reservations have no reserved stock")
def reserve_for_released_reservation(orders: Orders) -> None:
    ReservationLine.objects.filter(reservation=orders["cancelled"]).update(reserved=1)


@violates("no backorder could be filled from available stock")
def add_stock_without_allocation(orders: Orders) -> None:
    StockLevel.objects.filter(product=product("desk")).update(on_hand=3)


@violates("every backordered reservation has a shortage")
def backorder_full_reservation(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["deliverable"]).update(status="backordered")


@violates("deliverable orders have an accepted reservation")
def reopen_reservation_of_deliverable_order(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["deliverable"]).update(status="backordered")


@violates("the received quantity of a line equals the sum of its receipts")
def receive_without_receipt(orders: Orders) -> None:
    PurchaseOrderLine.objects.update(received=1)


@violates("the status of a purchase order agrees with its lines")
def receive_without_change_of_status(orders: Orders) -> None:
    PurchaseOrderLine.objects.update(received=1)


@violates("the status of a purchase order agrees with its lines")
def cancel_received_purchase_order(orders: Orders) -> None:
    PurchaseOrderLine.objects.update(received=1)
    PurchaseOrder.objects.update(status="cancelled")


@violates("only reservations of delivered sales orders are shipped")
def ship_undelivered_order(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["deliverable"]).update(status="shipped")


@violates("delivered orders are shipped, or their shipment is pending")
def undo_shipment(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["delivered"]).update(status="accepted")


@violates("cancelled orders have no reserved stock, or their release is pending")
def undo_release(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["cancelled"]).update(status="accepted")


@violates("only reservations of cancelled sales orders are released")
def release_order_awaiting_goods(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["awaiting goods"]).update(status="released")


@violates(
    "orders with accepted reservations are deliverable or delivered, or a message is pending"
)
def accept_without_message(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["awaiting goods"]).update(status="accepted")


@violates("orders awaiting stock reservation have a pending message or need attention")
def delete_reservation_request(orders: Orders) -> None:
    place_orders([SalesOrderDraft(lines=lines(lamp=1))])
    QueuedMessage.objects.all().delete()


@violates("every order is reserved as ordered, or a reservation request is pending")
def delete_reservation(orders: Orders) -> None:
    Reservation.objects.filter(id=orders["awaiting goods"]).delete()


@violates("every order is reserved as ordered, or a reservation request is pending")
def change_reservation_quantity(orders: Orders) -> None:
    ReservationLine.objects.filter(reservation=orders["awaiting goods"]).update(quantity=4)


@violates("awaited purchase orders are open, or a message about them is pending")
def delete_purchase_orders(orders: Orders) -> None:
    PurchaseOrder.objects.all().delete()


@violates("Stock has recorded what Purchase received, or the message is pending")
def delete_goods_received(orders: Orders) -> None:
    receive(PurchaseOrder.objects.earliest("id"))
    QueuedMessage.objects.all().delete()


@violates("Stock has recorded what Purchase received, or the message is pending")
def discard_goods_received(orders: Orders) -> None:
    receive(PurchaseOrder.objects.earliest("id"))
    QueuedMessage.objects.filter(consumer="stock").update(status=QueuedMessageStatus.DISCARDED)


@violates("closed purchase orders are recorded as closed in Sales, or a message is pending")
def delete_closing_message(orders: Orders) -> None:
    receive(PurchaseOrder.objects.earliest("id"))
    QueuedMessage.objects.all().delete()


@violates("no purchase order exceeds the reported shortage, and none is repeated")
def purchase_twice_for_one_reply(orders: Orders) -> None:
    purchase = StoredMessage.objects.filter(type="purchase.CreatePurchaseOrder").earliest("id")
    purchase.pk = None
    purchase.save()


@violates("no purchase order exceeds the reported shortage, and none is repeated")
def purchase_covered_shortage(orders: Orders) -> None:
    """Copy a reply with its shortages, and the purchase that it caused."""
    rows = StoredMessage.objects.select_related("caused_by")
    purchase = rows.filter(type="purchase.CreatePurchaseOrder").earliest("id")
    reply = purchase.caused_by
    assert reply
    reply.pk = purchase.pk = None
    reply.save()
    purchase.payload = {**purchase.payload, "purchase_order_id": str(uuid4())}
    purchase.caused_by = reply
    purchase.save()


@violates("no purchase order exceeds the reported shortage, and none is repeated")
def purchase_covered_shortage_and_receive_first_order(orders: Orders) -> None:
    """Receive what covered the shortage at the time of the second purchase."""
    purchase_covered_shortage(orders)
    for order in PurchaseOrder.objects.open():
        receive(order)
    drain_all()


@violates("every linked purchase order has the requested lines")
def increase_ordered_quantity(orders: Orders) -> None:
    PurchaseOrderLine.objects.update(quantity=4)


@violates("every shortage of a sales order awaiting goods received is on order")
def reduce_linked_quantity(orders: Orders) -> None:
    LinkedPurchaseOrderLine.objects.update(quantity=2)


@violates("there are no dead letters")
def add_dead_letter(orders: Orders) -> None:
    QueuedMessage.objects.create(
        consumer="sales",
        message=StoredMessage.objects.latest("id"),
        key=uuid4(),
        due_at=timezone.now(),
        status=QueuedMessageStatus.DEAD_LETTER,
        last_error="seeded",
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.seed.__name__)
def test_seeded_fault_is_detected(orders: Orders, fault: Fault) -> None:
    fault.seed(orders)
    assert fault.invariant in violated()


def test_every_invariant_has_seeded_fault() -> None:
    guarded_by_constraints = {"0 <= reserved <= on hand"}
    invariants = {check.invariant for check in audit()}
    assert invariants - {fault.invariant for fault in FAULTS} == guarded_by_constraints


# -- the command, and the snapshot ---------------------------------------------------------------


def test_audit_command_shows_violations_and_exits_with_1(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("audit")
    assert f"{len(audit())} invariants checked, 0 violated." in capsys.readouterr().out
    increase_reserved(orders)
    with pytest.raises(SystemExit) as exit_:
        call_command("audit")
    assert exit_.value.code == 1
    output = capsys.readouterr().out
    assert (
        "FAIL reserved equals the sum of the reservations\n     chair: 7 on hand, 3 reserved\n"
    ) in output


def test_snapshot_rejects_writes(orders: Orders) -> None:
    with pytest.raises(Exception, match=r"read-only|readonly"), snapshot():
        SalesOrder.objects.update(customer="Ada")
    assert not connection.in_atomic_block
    SalesOrder.objects.update(customer="Ada")
