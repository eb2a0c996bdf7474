"""What holds at every moment, whatever happens: the product's own audit, and what only a witness of the whole story can say."""

from collections import Counter
from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import Sum

from orderflow.messaging.models import QueuedMessage, StoredMessage
from orderflow.operations.audit import audit
from purchase.models import PurchaseOrder
from sales.models import LinkedPurchaseOrder, OrderStatus, OrderStatusChange, SalesOrderLine
from stock.models import ReservationLine, StockLevel, StockMovement


def assert_invariants(*, forgiving: Collection[str] = ()) -> None:
    """`forgiving`: words in the errors of dead letters that died of a fault that the test made."""
    off = [
        check
        for check in audit()
        if any(not _is_forgiven(each, forgiving) for each in check.offenders)
    ]
    assert off == []
    assert _given_up_and_still_open() == set()
    assert asked_before_stock_had_caught_up() == []
    assert _late_and_not_overdue() == []
    assert list(_served_others_with_pegged_goods()) == []
    assert list(_torn_histories()) == []
    assert _said_twice() == {}


def every_order_has_ended() -> None:
    assert not QueuedMessage.objects.exists()
    assert set(OrderStatus.objects.values_list("status", flat=True)) <= {"delivered", "cancelled"}
    for balance in StockLevel.objects.all():
        of_it = StockMovement.objects.filter(product=balance.product_id)
        came = (
            of_it.filter(movement_type__in=["received", "reversed", "adjusted"]).aggregate(
                total=Sum("on_hand")
            )["total"]
            or 0
        )
        lines = SalesOrderLine.objects.filter(
            product=balance.product_id, order__order_status__status="delivered"
        )
        delivered = lines.aggregate(total=Sum("quantity"))["total"] or 0
        assert (balance.on_hand, balance.reserved) == (came - delivered, 0)


def _is_forgiven(offender: str, forgiving: Collection[str]) -> bool:
    return any(words in offender for words in forgiving)


def _given_up_and_still_open() -> set[str]:
    """Purchase orders of which nothing ever came, although Purchase has handled that nobody needs them any more."""
    commands = StoredMessage.objects.filter(type="purchase.WithdrawPurchaseOrder").exclude(
        deliveries__isnull=False
    )
    untouched = PurchaseOrder.objects.filter(status="open").values_list("pk", flat=True)
    withdrawn = {
        payload["purchase_order_id"] for payload in commands.values_list("payload", flat=True)
    }
    return withdrawn & {str(pk) for pk in untouched}


def _late_and_not_overdue() -> list[UUID]:
    """Sales orders that await goods which are late, as Sales has heard, and are not marked overdue."""
    awaiting = OrderStatus.objects.filter(status__startswith="awaiting", overdue=False)
    late = awaiting.filter(
        purchases__in=LinkedPurchaseOrder.objects.filter(
            overdue=True, closed_by_message_id__isnull=True
        )
    )
    return list(late.values_list("pk", flat=True))


def asked_before_stock_had_caught_up() -> list[UUID]:
    """Sales orders whose latest question was asked although Stock had not handled what closed a purchase order of theirs.

    Stock's next drain covers it up.
    """
    on_the_way = QueuedMessage.objects.filter(consumer="stock").values("message_id")
    waiting = OrderStatus.objects.filter(
        status__startswith="awaiting", purchases__closed_by_message_id__in=on_the_way
    )
    questions = StoredMessage.objects.filter(type="stock.MakeReservation")
    return [
        each.pk
        for each in waiting
        if questions.filter(key=each.pk, payload__request=each.request_number).exists()
    ]


def _served_others_with_pegged_goods() -> Iterator[str]:
    """Who waits, and never changed its mind, got all that was bought for it of each receipt that Stock has booked."""
    lacking = {
        (str(line.reservation_id), str(line.product_id))
        for line in ReservationLine.objects.filter(
            reservation__status="waiting", reservation__revision=1
        )
        if line.missing
    }
    if not lacking:
        return
    promised: Counter[tuple[int | None, str, str]] = Counter()
    for row in StockMovement.objects.filter(movement_type="promised"):
        promised[row.message_id, str(row.source_document_id), str(row.product_id)] += row.reserved
    receipts = StoredMessage.objects.filter(type="purchase.GoodsReceived").exclude(
        deliveries__consumer="stock"
    )
    for message_id, payload in receipts.values_list("id", "payload"):
        for line in payload["lines"]:
            got = promised[message_id, line["pegged_to"], line["product_id"]]
            if (line["pegged_to"], line["product_id"]) in lacking and got < line["quantity"]:
                yield f"{line['pegged_to']} got {got} of {line['quantity']} that were bought for it, and still waits"


def _torn_histories() -> Iterator[str]:
    """Each change of status begins where the one before ended; what has ended never moves again."""
    last: dict[UUID, str] = {}
    for change in OrderStatusChange.objects.order_by("id"):
        before = last.get(change.status_id, "new")
        if change.from_status != before or before in ("delivered", "cancelled"):
            yield f"{change.status_id}: {before}, then {change}"
        last[change.status_id] = change.to_status


def _said_twice() -> dict[tuple[str, UUID], int]:
    """What is said of a sales order once in its life."""
    once = (
        "sales.SalesOrderCreated",
        "sales.SalesOrderDelivered",
        "sales.SalesOrderCancelled",
        "stock.ShipReservation",
    )
    said = Counter(StoredMessage.objects.filter(type__in=once).values_list("type", "key"))
    return {what: times for what, times in said.items() if times > 1}
