"""Purchase at work: purchase orders being changed in one transaction."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.database import save_rows
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.reasons import checked_reason
from orderflow.refusals import Conflict, NotFound
from purchase.contract import (
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
    ReverseReceipt,
)
from purchase.models import PurchaseOrder, PurchaseOrderChange, PurchaseOrderLine, Receipt, ReceiptLine
from purchase.receiving import Act, Outstanding, Status, after_reversal, decide, receive


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Goods that arrived for a purchase order. No `lines`: everything that is still to come."""

    purchase_order_id: UUID
    lines: Sequence[ProductQuantity] | None = None
    id: UUID = field(default_factory=uuid.uuid4)


class NoSuchPurchaseOrder(NotFound):
    """There is no purchase order with this id."""

    code = "no_such_purchase_order"

    def __init__(self, purchase_order_id: UUID) -> None:
        super().__init__(f"There is no purchase order {purchase_order_id}.")


class ReceiptTaken(Conflict):
    """The id belongs to another receipt."""

    code = "receipt_taken"

    def __init__(self, receipt_id: UUID) -> None:
        super().__init__(f"There is another receipt with the id {receipt_id}. Nothing was received: choose a different id.")


class PurchaseOrderEnded(Conflict):
    """The purchase order has ended: nothing of it is expected any more."""

    code = "purchase_order_ended"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is {order.get_status_display()}: nothing of it is expected any more. "
            "Order again what is needed."
        )


class KeptElsewhere(Conflict):
    """The purchase order is ordered and received by another system."""

    code = "kept_elsewhere"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is kept by another system, which says here what becomes of it. "
            "Receive, cancel or close it there."
        )


class Work:
    """Purchase orders being changed in one transaction: locked in one pass, written once. `by`: the person who wants it.

    What is counted, up or down, comes with `receipts`; only then are lines read.
    """

    def __init__(
        self, locked: Iterable[PurchaseOrder], *, receipts: Collection[UUID] = (), by: str = "", reason: str = ""
    ) -> None:
        self.cause: int | None = None
        self._now: datetime = timezone.now()
        self._by = by
        self._reason = checked_reason(reason)
        self.orders = {row.id: row for row in locked}
        self._lines: dict[UUID, list[PurchaseOrderLine]] = defaultdict(list)
        self._receipts: dict[UUID, Receipt] = {}
        self._contents: dict[UUID, list[ReceiptLine]] = defaultdict(list)  # what came with each receipt
        if receipts:
            self._read(receipts)
        self._changed: dict[UUID, PurchaseOrder] = {}
        self._changed_lines: dict[int, PurchaseOrderLine] = {}
        self._new_receipts: list[Receipt] = []
        self._new_receipt_lines: list[ReceiptLine] = []
        self._reversed_lines: dict[int, ReceiptLine] = {}
        self._history: list[PurchaseOrderChange] = []
        self._outgoing: list[Outgoing] = []

    def _read(self, receipts: Collection[UUID]) -> None:
        for ordered in PurchaseOrderLine.objects.filter(order__in=self.orders).select_related("product"):
            self._lines[ordered.order_id].append(ordered)
        self._receipts = Receipt.objects.in_bulk(list(receipts))
        lines = {line.pk: line for of_order in self._lines.values() for line in of_order}
        for row in ReceiptLine.objects.filter(receipt__in=self._receipts).order_by("id"):
            row.line = lines.get(row.line_id) or row.line
            self._contents[row.receipt_id].append(row)

    def order(self, purchase_order_id: UUID) -> PurchaseOrder:
        if purchase_order_id not in self.orders:
            raise NoSuchPurchaseOrder(purchase_order_id)
        return self.orders[purchase_order_id]

    def _kept_here(self, purchase_order_id: UUID) -> PurchaseOrder:
        order = self.order(purchase_order_id)
        if order.elsewhere:
            raise KeptElsewhere(order)
        return order

    def receive(self, arrival: Arrival) -> Receipt:
        order = self._kept_here(arrival.purchase_order_id)
        arrived = _by_product(arrival.lines)
        if arrival.id in self._receipts:
            return self._as_before(arrival, arrived)
        return self._book(order, arrival.id, arrived, tolerance=settings.ORDERFLOW_OVER_RECEIPT)

    def receive_as_told(self, arrival: Arrival, *, complete: bool) -> None:
        """What another system says has arrived has arrived: it may be as much more than ordered as can be stored.

        `complete`: nothing more will come.
        """
        order = self.order(arrival.purchase_order_id)
        if arrival.lines:
            if arrival.id in self._receipts:
                raise ReceiptTaken(arrival.id)
            self._book(order, arrival.id, _by_product(arrival.lines), tolerance=100)
        if complete and order.status == Status.OPEN:
            self._end(order, Act.CANCEL, "cancelled by the system that keeps it", PurchaseOrderCancelled)
        elif complete and order.status == Status.PARTIALLY_RECEIVED:
            self._end(order, Act.CLOSE_SHORT, "closed short by the system that keeps it", PurchaseOrderClosedShort)

    def _book(self, order: PurchaseOrder, receipt_id: UUID, arrived: Mapping[UUID, int] | None, *, tolerance: int) -> Receipt:
        lines = self._lines[order.id]
        status, falls = receive(
            Status(order.status),
            [_outstanding(line) for line in lines],
            arrived,
            reference=order.reference,
            tolerance=tolerance,
        )
        self._set_status(order, status)
        order.receipt_count += 1
        receipt = Receipt(id=receipt_id, order=order, number=order.receipt_count, by=self._by, reason=self._reason, at=self._now)
        self._new_receipts.append(receipt)
        self._receipts[receipt.id] = receipt
        filled = [(line, quantity) for line, quantity in zip(lines, falls, strict=True) if quantity]
        for line, quantity in filled:
            self._count(line, quantity)
            row = ReceiptLine(receipt=receipt, line=line, quantity=quantity)
            self._contents[receipt.id].append(row)
            self._new_receipt_lines.append(row)
        self._tell(_goods_received(receipt, filled, complete=status == Status.RECEIVED))
        return receipt

    def cancel(self, order: PurchaseOrder) -> None:
        self._kept_here(order.id)
        self._end(order, Act.CANCEL, "cancelled", PurchaseOrderCancelled)

    def give_up(self, purchase_order_id: UUID) -> None:
        """Whoever had it ordered does not need it any more. One that is not known here will not be ordered: a tombstone."""
        order = self.orders.get(purchase_order_id)
        if order is None:
            order = PurchaseOrder(
                id=purchase_order_id,
                reference=made_up_reference(purchase_order_id),
                status=Status.OPEN,
                ordered_at=self._now,
                expected_at=self._now,
            )
            self.orders[order.id] = order
        self._end(order, Act.GIVE_UP, "cancelled: whoever had it ordered does not need it any more", PurchaseOrderCancelled)
        if order.status == Status.PARTIALLY_RECEIVED:
            order.given_up = True
            self._changed[order.id] = order
            self._note(order, order.status, "kept: a part has arrived, though whoever had it ordered does not need it any more")

    def close_short(self, order: PurchaseOrder) -> None:
        self._kept_here(order.id)
        self._end(order, Act.CLOSE_SHORT, "closed short: the rest will not come", PurchaseOrderClosedShort)

    def expect(self, order: PurchaseOrder, expected_at: datetime) -> None:
        if order.status not in (Status.OPEN, Status.PARTIALLY_RECEIVED):
            raise PurchaseOrderEnded(order)
        if order.expected_at != expected_at:
            order.expected_at = expected_at
            order.overdue = False
            self._changed[order.id] = order
            self._note(order, order.status, f"expected {timezone.localtime(expected_at):%Y-%m-%d %H:%M}")
            self._tell(PurchaseOrderExpected(purchase_order_id=order.id, expected_at=expected_at))

    def mark_overdue(self, order: PurchaseOrder) -> None:
        order.overdue = True
        self._changed[order.id] = order
        self._tell(PurchaseOrderOverdue(purchase_order_id=order.id, expected_at=order.expected_at))

    def reverse(self, reversal: ReverseReceipt) -> None:
        """What was counted wrongly has not arrived."""
        receipt = self._receipts.get(reversal.receipt_id)
        if receipt is None:
            raise UnexpectedMessage(f"There is no receipt {reversal.receipt_id}.")
        order, left = self.orders[receipt.order_id], reversal.product.quantity
        for row in reversed(self._contents[receipt.id]):
            if row.line.product_id == reversal.product.product_id:
                share = min(row.quantity - row.reversed, left)
                row.reversed += share
                self._reversed_lines[row.pk] = row
                self._count(row.line, -share)
                left -= share
        if left:
            raise UnexpectedMessage(f"Receipt {receipt.id} has {left} less than is to be reversed.")
        before = order.status
        self._set_status(order, after_reversal(Status(before), [_outstanding(line) for line in self._lines[order.id]]))
        if order.status == Status.OPEN and order.given_up:  # so nothing of it had arrived after all
            self._set_status(order, Status.CANCELLED)
            self._tell(PurchaseOrderCancelled(purchase_order_id=order.id, number=order.receipt_count + 1))
        what = f"{reversal.product.quantity:,} of receipt {receipt.id} reversed"
        self._note(order, before, what, by=reversal.by, reason=reversal.reason)

    def save(self) -> int:
        """Write what was done; returns how many purchase orders it changed."""
        for order in self._changed.values():
            order.updated_at = self._now
        save_rows(list(self._changed.values()), ["status", "updated_at", "expected_at", "overdue", "given_up", "receipt_count"])
        save_rows(list(self._changed_lines.values()), ["received"])
        Receipt.objects.bulk_create(self._new_receipts)
        ReceiptLine.objects.bulk_create(self._new_receipt_lines)
        save_rows(list(self._reversed_lines.values()), ["reversed"])
        PurchaseOrderChange.objects.bulk_create(self._history)
        publish(self._outgoing)
        return len(self._changed)

    def _as_before(self, arrival: Arrival, arrived: Mapping[UUID, int] | None) -> Receipt:
        known = self._receipts[arrival.id]
        contents: Counter[UUID] = Counter()
        for row in self._contents[arrival.id]:
            contents[row.line.product_id] += row.quantity
        same = (known.order_id, known.reason) == (arrival.purchase_order_id, self._reason)
        if not same or (arrived is not None and arrived != contents):
            raise ReceiptTaken(arrival.id)
        return known

    def _end(
        self, order: PurchaseOrder, act: Act, what: str, news: type[PurchaseOrderCancelled] | type[PurchaseOrderClosedShort]
    ) -> None:
        before, after = order.status, decide(Status(order.status), act, reference=order.reference)
        if after != before:
            self._set_status(order, after)
            self._note(order, before, what)
            self._tell(news(purchase_order_id=order.id, number=order.receipt_count + 1))

    def _count(self, line: PurchaseOrderLine, quantity: int) -> None:
        line.received += quantity
        self._changed_lines[line.pk] = line

    def _set_status(self, order: PurchaseOrder, status: Status) -> None:
        order.status = status
        order.overdue = order.overdue and status in (Status.OPEN, Status.PARTIALLY_RECEIVED)
        self._changed[order.id] = order

    def _note(self, order: PurchaseOrder, before: str, what: str, *, by: str = "", reason: str = "") -> None:
        self._history.append(
            PurchaseOrderChange(
                order=order,
                from_status=before,
                to_status=order.status,
                what=what,
                message_id=self.cause,
                by=by or self._by,
                reason=reason or self._reason,
                at=self._now,
            )
        )

    def _tell(self, message: Message) -> None:
        self._outgoing.append(Outgoing(message=message, caused_by=self.cause))


def made_up_reference(purchase_order_id: UUID) -> str:
    return f"PO-{purchase_order_id.hex}"


def _outstanding(line: PurchaseOrderLine) -> Outstanding:
    return Outstanding(product_id=line.product_id, sku=line.product.sku, quantity=line.quantity, received=line.received)


def _by_product(lines: Sequence[ProductQuantity] | None) -> dict[UUID, int] | None:
    return None if lines is None else {line.product_id: line.quantity for line in checked_lines(lines)}


def _goods_received(receipt: Receipt, filled: Sequence[tuple[PurchaseOrderLine, int]], *, complete: bool) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=receipt.order_id,
        receipt_id=receipt.id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=quantity, bought_for=line.bought_for) for line, quantity in filled
        ),
        complete=complete,
        number=receipt.number,
    )
