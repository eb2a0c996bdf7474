"""Invariants that hold at any time: the audit, and checks that need the complete history."""

from collections import Counter
from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import Sum

from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.operations.audit import audit
from purchase.models import PurchaseOrder
from sales.models import LinkedPurchaseOrder, OrderStatus, OrderStatusChange, SalesOrderLine
from stock.models import ReservationLine, StockLevel, StockMovement


def assert_invariants(*, ignored_errors: Collection[str] = ()) -> None:
    """`ignored_errors`: error texts of the dead letters that the test itself caused."""
    failed = [
        check
        for check in audit()
        if any(not _is_ignored(each, ignored_errors) for each in check.violations)
    ]
    assert failed == []
    assert _withdrawn_and_open() == set()
    assert requested_before_stock_caught_up() == []
    assert _awaiting_overdue_goods_without_flag() == []
    assert list(_pegged_goods_allocated_to_others()) == []
    assert list(_gaps_in_status_history()) == []
    assert _published_twice() == {}


def assert_every_order_is_closed() -> None:
    """Assert that no message is queued, and that stock levels match receipts and deliveries."""
    assert not QueuedMessage.objects.exists()
    assert set(OrderStatus.objects.values_list("status", flat=True)) <= {"delivered", "cancelled"}
    for level in StockLevel.objects.all():
        increases = StockMovement.objects.filter(
            product=level.product_id, movement_type__in=["received", "reversed", "adjusted"]
        )
        delivered = SalesOrderLine.objects.filter(
            product=level.product_id, order__order_status__status="delivered"
        )
        added = increases.aggregate(total=Sum("on_hand"))["total"] or 0
        removed = delivered.aggregate(total=Sum("quantity"))["total"] or 0
        assert (level.on_hand, level.reserved) == (added - removed, 0)


def _is_ignored(violation: str, ignored_errors: Collection[str]) -> bool:
    return any(error in violation for error in ignored_errors)


def _withdrawn_and_open() -> set[str]:
    """Return open purchase orders without receipts whose withdrawal Purchase has handled."""
    commands = StoredMessage.objects.filter(type="purchase.WithdrawPurchaseOrder")
    handled = commands.exclude(queued__isnull=False).values_list("payload", flat=True)
    open_ids = PurchaseOrder.objects.filter(status="open").values_list("pk", flat=True)
    return {payload["purchase_order_id"] for payload in handled} & {str(pk) for pk in open_ids}


def _awaiting_overdue_goods_without_flag() -> list[UUID]:
    """Return sales orders that await overdue goods, as Sales knows, and are not overdue."""
    overdue = LinkedPurchaseOrder.objects.filter(overdue=True, closed_by_message_id__isnull=True)
    orders = OrderStatus.objects.filter(
        status__startswith="awaiting", overdue=False, linked_purchase_orders__in=overdue
    )
    return list(orders.values_list("pk", flat=True))


def requested_before_stock_caught_up() -> list[UUID]:
    """Return sales orders whose latest reservation request was sent too early.

    Stock had not handled a message that closed one of their purchase orders. After Stock's next
    drain this is no longer visible.
    """
    pending = QueuedMessage.objects.filter(consumer="stock").values("message_id")
    orders = OrderStatus.objects.filter(
        status__startswith="awaiting",
        linked_purchase_orders__closed_by_message_id__in=pending,
    )
    requests = StoredMessage.objects.filter(type="stock.MakeReservation")
    return [
        each.pk
        for each in orders
        if requests.filter(key=each.pk, payload__request_number=each.request_number).exists()
    ]


def _pegged_goods_allocated_to_others() -> Iterator[str]:
    """Find backorders that did not get the whole pegged quantity of a recorded receipt.

    Changed sales orders are not checked: they may need less than the pegged quantity.
    """
    rows = ReservationLine.objects.filter(
        reservation__status="backordered", reservation__revision=1
    )
    backordered = {(str(row.reservation_id), str(row.product_id)) for row in rows if row.shortage}
    if not backordered:
        return
    reserved: Counter[tuple[int | None, str, str]] = Counter()
    for row in StockMovement.objects.filter(movement_type="reserved"):
        reserved[row.message_id, str(row.source_document_id), str(row.product_id)] += row.reserved
    receipts = StoredMessage.objects.filter(type="purchase.GoodsReceived")
    recorded = receipts.exclude(queued__consumer="stock").values_list("id", "payload")
    for message_id, payload in recorded:
        for line in payload["lines"]:
            pegged_to, product_id = line["pegged_to"], line["product_id"]
            quantity = reserved[message_id, pegged_to, product_id]
            if (pegged_to, product_id) in backordered and quantity < line["quantity"]:
                yield f"{pegged_to}: {quantity} reserved of {line['quantity']} pegged, backordered"


def _gaps_in_status_history() -> Iterator[str]:
    """Find status changes that do not start at the previous status, or follow a closed one."""
    last: dict[UUID, str] = {}
    for change in OrderStatusChange.objects.order_by("id"):
        before = last.get(change.order_status_id, "new")
        if change.from_status != before or before in ("delivered", "cancelled"):
            yield f"{change.order_status_id}: {before}, then {change}"
        last[change.order_status_id] = change.to_status


def _published_twice() -> dict[tuple[str, UUID], int]:
    """Return the repeated messages that a sales order publishes at most once."""
    types = (
        "sales.SalesOrderCreated",
        "sales.SalesOrderDelivered",
        "sales.SalesOrderCancelled",
        "stock.ShipReservation",
    )
    rows = StoredMessage.objects.filter(type__in=types).values_list("type", "key")
    return {message: count for message, count in Counter(rows).items() if count > 1}
