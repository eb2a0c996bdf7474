"""Purchase orders that change in one transaction."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orderflow.core.database import upsert
from orderflow.core.errors import ConflictError, NotFoundError
from orderflow.core.quantities import ProductQuantity, validate_lines
from orderflow.core.reasons import validate_reason
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import (
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
    ReverseReceipt,
)
from purchase.lifecycle import (
    OPEN_STATUSES,
    OrderedLine,
    PurchaseOrderAction,
    Status,
    decide,
    distribute_receipt,
    status_after_reversal,
)
from purchase.models import (
    PurchaseOrder,
    PurchaseOrderHistoryEntry,
    PurchaseOrderLine,
    Receipt,
    ReceiptLine,
)

FULL_TOLERANCE = 100  # percent; an external system decides itself how much it receives


@dataclass(frozen=True, kw_only=True)
class ReceiptDraft:
    """A receipt to record. Without `lines`: everything outstanding. An id is recorded once."""

    purchase_order_id: UUID
    lines: Sequence[ProductQuantity] | None = None
    id: UUID = field(default_factory=uuid.uuid4)


class PurchaseOrderNotFound(NotFoundError):
    """No purchase order has this id."""

    code = "purchase_order_not_found"

    def __init__(self, purchase_order_id: UUID) -> None:
        super().__init__(f"No purchase order has the id {purchase_order_id}. Check the id.")


class ReceiptAlreadyExists(ConflictError):
    """Another receipt has this id."""

    code = "receipt_already_exists"

    def __init__(self, receipt_id: UUID) -> None:
        super().__init__(
            f"Another receipt has the id {receipt_id}. Choose a different id. "
            "No changes were made."
        )


class PurchaseOrderClosed(ConflictError):
    """The purchase order is closed: no further goods are expected."""

    code = "purchase_order_closed"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is closed: its status is {order.get_status_display()}. "
            "Create a new purchase order for goods that are still needed."
        )


class PurchaseOrderIsExternal(ConflictError):
    """The purchase order is managed by an external system."""

    code = "purchase_order_is_external"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is managed by an external system. "
            "Receive, cancel or close it there."
        )


class Work:
    """Purchase orders of one transaction: locked once, changed in memory, saved once.

    Lines are read only if `receipts` are recorded or reversed. `cause`: the message that causes
    the next changes.
    """

    def __init__(
        self,
        locked: Iterable[PurchaseOrder],
        *,
        receipts: Collection[UUID] = (),
        actor: str = "",
        reason: str = "",
    ) -> None:
        self.cause: int | None = None
        self._now: datetime = timezone.now()
        self._actor = actor
        self._reason = validate_reason(reason)
        self.orders = {row.id: row for row in locked}
        self._lines: dict[UUID, list[PurchaseOrderLine]] = defaultdict(list)
        self._receipts: dict[UUID, Receipt] = {}
        self._receipt_lines: dict[UUID, list[ReceiptLine]] = defaultdict(list)
        if receipts:
            self._read(receipts)
        self._changed: dict[UUID, PurchaseOrder] = {}
        self._changed_lines: dict[int, PurchaseOrderLine] = {}
        self._new_receipts: list[Receipt] = []
        self._new_receipt_lines: list[ReceiptLine] = []
        self._reversed_lines: dict[int, ReceiptLine] = {}
        self._history: list[PurchaseOrderHistoryEntry] = []
        self._outgoing: list[OutgoingMessage] = []

    def _read(self, receipts: Collection[UUID]) -> None:
        rows = PurchaseOrderLine.objects.filter(order__in=self.orders).select_related("product")
        for line in rows:
            self._lines[line.order_id].append(line)
        self._receipts = Receipt.objects.in_bulk(list(receipts))
        lines = {line.pk: line for of_order in self._lines.values() for line in of_order}
        for row in ReceiptLine.objects.filter(receipt__in=self._receipts).order_by("id"):
            row.line = lines.get(row.line_id) or row.line
            self._receipt_lines[row.receipt_id].append(row)

    def order(self, purchase_order_id: UUID) -> PurchaseOrder:
        """Raises: `PurchaseOrderNotFound`."""
        if purchase_order_id not in self.orders:
            raise PurchaseOrderNotFound(purchase_order_id)
        return self.orders[purchase_order_id]

    def _local_order(self, purchase_order_id: UUID) -> PurchaseOrder:
        order = self.order(purchase_order_id)
        if order.external:
            raise PurchaseOrderIsExternal(order)
        return order

    def receive(self, draft: ReceiptDraft) -> Receipt:
        order = self._local_order(draft.purchase_order_id)
        received = _by_product(draft.lines)
        if draft.id in self._receipts:
            return self._existing_receipt(draft, received)
        tolerance = settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE
        return self._record_receipt(order, draft.id, received, tolerance=tolerance)

    def receive_external(self, draft: ReceiptDraft, *, final: bool) -> None:
        """Record what an external system received; `final`: no further goods will arrive."""
        order = self.order(draft.purchase_order_id)
        if draft.lines:
            if draft.id in self._receipts:
                raise ReceiptAlreadyExists(draft.id)
            received = _by_product(draft.lines)
            self._record_receipt(order, draft.id, received, tolerance=FULL_TOLERANCE)
        if final and order.status == Status.OPEN:
            self._close(
                order,
                PurchaseOrderAction.CANCEL,
                "cancelled by the external system",
                PurchaseOrderCancelled,
            )
        elif final and order.status == Status.PARTIALLY_RECEIVED:
            self._close(
                order,
                PurchaseOrderAction.CLOSE_SHORT,
                "closed short by the external system",
                PurchaseOrderClosedShort,
            )

    def _record_receipt(
        self,
        order: PurchaseOrder,
        receipt_id: UUID,
        received: Mapping[UUID, int] | None,
        *,
        tolerance: int,
    ) -> Receipt:
        lines = self._lines[order.id]
        status, shares = distribute_receipt(
            Status(order.status),
            [_ordered_line(line) for line in lines],
            received,
            reference=order.reference,
            tolerance=tolerance,
        )
        self._set_status(order, status)
        order.last_sequence_number += 1
        receipt = Receipt(
            id=receipt_id,
            order=order,
            sequence_number=order.last_sequence_number,
            actor=self._actor,
            reason=self._reason,
            created_at=self._now,
        )
        self._new_receipts.append(receipt)
        self._receipts[receipt.id] = receipt
        filled = [
            (line, quantity) for line, quantity in zip(lines, shares, strict=True) if quantity
        ]
        for line, quantity in filled:
            self._add_received(line, quantity)
            row = ReceiptLine(receipt=receipt, line=line, quantity=quantity)
            self._receipt_lines[receipt.id].append(row)
            self._new_receipt_lines.append(row)
        self._publish(_goods_received(receipt, filled, final=status == Status.RECEIVED))
        return receipt

    def cancel(self, order: PurchaseOrder) -> None:
        self._local_order(order.id)
        self._close(order, PurchaseOrderAction.CANCEL, "cancelled", PurchaseOrderCancelled)

    def withdraw(self, purchase_order_id: UUID) -> None:
        """Cancel it if nothing was received, else keep it; store an unknown one as cancelled."""
        order = self.orders.get(purchase_order_id)
        if order is None:
            order = PurchaseOrder(
                id=purchase_order_id,
                reference=default_reference(purchase_order_id),
                status=Status.OPEN,
                ordered_at=self._now,
                expected_at=self._now,
            )
            self.orders[order.id] = order
        self._close(
            order,
            PurchaseOrderAction.WITHDRAW,
            "cancelled: Sales no longer needs it",
            PurchaseOrderCancelled,
        )
        if order.status == Status.PARTIALLY_RECEIVED:
            order.withdrawn = True
            self._changed[order.id] = order
            description = "kept after a partial receipt, although Sales no longer needs it"
            self._record_history(order, order.status, description)

    def close_short(self, order: PurchaseOrder) -> None:
        self._local_order(order.id)
        self._close(
            order,
            PurchaseOrderAction.CLOSE_SHORT,
            "closed short",
            PurchaseOrderClosedShort,
        )

    def reschedule(self, order: PurchaseOrder, expected_at: datetime) -> None:
        if order.status not in OPEN_STATUSES:
            raise PurchaseOrderClosed(order)
        if order.expected_at != expected_at:
            order.expected_at = expected_at
            order.overdue = False
            self._changed[order.id] = order
            description = f"rescheduled to {timezone.localtime(expected_at):%Y-%m-%d %H:%M}"
            self._record_history(order, order.status, description)
            self._publish(
                PurchaseOrderRescheduled(purchase_order_id=order.id, expected_at=expected_at)
            )

    def mark_overdue(self, order: PurchaseOrder) -> None:
        order.overdue = True
        self._changed[order.id] = order
        self._publish(
            PurchaseOrderOverdue(purchase_order_id=order.id, expected_at=order.expected_at)
        )

    def reverse(self, reversal: ReverseReceipt) -> None:
        receipt = self._receipts.get(reversal.receipt_id)
        if receipt is None:
            raise UnexpectedMessage(f"There is no receipt {reversal.receipt_id}.")
        order = self.orders[receipt.order_id]
        self._reverse_lines(receipt, reversal.line)
        before = order.status
        lines = [_ordered_line(line) for line in self._lines[order.id]]
        self._set_status(order, status_after_reversal(Status(before), lines))
        if order.status == Status.OPEN and order.withdrawn:  # nothing was received after all
            self._set_status(order, Status.CANCELLED)
            self._publish(
                PurchaseOrderCancelled(
                    purchase_order_id=order.id, sequence_number=order.last_sequence_number + 1
                )
            )
        self._record_history(
            order,
            before,
            f"{reversal.line.quantity:,} of receipt {receipt.id} reversed",
            actor=reversal.actor,
            reason=reversal.reason,
        )

    def _reverse_lines(self, receipt: Receipt, reversed_line: ProductQuantity) -> None:
        left = reversed_line.quantity
        for row in reversed(self._receipt_lines[receipt.id]):
            if row.line.product_id == reversed_line.product_id:
                share = min(row.quantity - row.reversed, left)
                row.reversed += share
                self._reversed_lines[row.pk] = row
                self._add_received(row.line, -share)
                left -= share
        if left:
            raise UnexpectedMessage(
                f"Receipt {receipt.id} recorded {left:,} less than the quantity to reverse."
            )

    def save(self) -> int:
        """Write the changes and publish the messages; return how many purchase orders changed."""
        for order in self._changed.values():
            order.updated_at = self._now
        upsert(
            list(self._changed.values()),
            [
                "status",
                "updated_at",
                "expected_at",
                "overdue",
                "withdrawn",
                "last_sequence_number",
            ],
        )
        upsert(list(self._changed_lines.values()), ["received"])
        Receipt.objects.bulk_create(self._new_receipts)
        ReceiptLine.objects.bulk_create(self._new_receipt_lines)
        upsert(list(self._reversed_lines.values()), ["reversed"])
        PurchaseOrderHistoryEntry.objects.bulk_create(self._history)
        publish(self._outgoing)
        return len(self._changed)

    def _existing_receipt(
        self, draft: ReceiptDraft, received: Mapping[UUID, int] | None
    ) -> Receipt:
        existing = self._receipts[draft.id]
        recorded: Counter[UUID] = Counter()
        for row in self._receipt_lines[draft.id]:
            recorded[row.line.product_id] += row.quantity
        stored = (existing.order_id, existing.reason)
        if stored != (draft.purchase_order_id, self._reason):
            raise ReceiptAlreadyExists(draft.id)
        if received is not None and received != recorded:
            raise ReceiptAlreadyExists(draft.id)
        return existing

    def _close(
        self,
        order: PurchaseOrder,
        action: PurchaseOrderAction,
        description: str,
        event: type[PurchaseOrderCancelled] | type[PurchaseOrderClosedShort],
    ) -> None:
        before = order.status
        after = decide(Status(before), action, reference=order.reference)
        if after != before:
            self._set_status(order, after)
            self._record_history(order, before, description)
            self._publish(
                event(purchase_order_id=order.id, sequence_number=order.last_sequence_number + 1)
            )

    def _add_received(self, line: PurchaseOrderLine, quantity: int) -> None:
        line.received += quantity
        self._changed_lines[line.pk] = line

    def _set_status(self, order: PurchaseOrder, status: Status) -> None:
        order.status = status
        order.overdue = order.overdue and status in OPEN_STATUSES
        self._changed[order.id] = order

    def _record_history(
        self,
        order: PurchaseOrder,
        from_status: str,
        description: str,
        *,
        actor: str = "",
        reason: str = "",
    ) -> None:
        self._history.append(
            PurchaseOrderHistoryEntry(
                order=order,
                from_status=from_status,
                to_status=order.status,
                description=description,
                message_id=self.cause,
                actor=actor or self._actor,
                reason=reason or self._reason,
                created_at=self._now,
            )
        )

    def _publish(self, message: Message) -> None:
        self._outgoing.append(OutgoingMessage(message=message, caused_by=self.cause))


def default_reference(purchase_order_id: UUID) -> str:
    return f"PO-{purchase_order_id.hex}"


def _ordered_line(line: PurchaseOrderLine) -> OrderedLine:
    return OrderedLine(
        product_id=line.product_id,
        sku=line.product.sku,
        quantity=line.quantity,
        received=line.received,
    )


def _by_product(lines: Sequence[ProductQuantity] | None) -> dict[UUID, int] | None:
    if lines is None:
        return None
    return {line.product_id: line.quantity for line in validate_lines(lines)}


def _goods_received(
    receipt: Receipt, filled: Sequence[tuple[PurchaseOrderLine, int]], *, final: bool
) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=receipt.order_id,
        receipt_id=receipt.id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=quantity, pegged_to=line.pegged_to)
            for line, quantity in filled
        ),
        final=final,
        sequence_number=receipt.sequence_number,
    )
