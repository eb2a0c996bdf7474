"""The purchase orders whose receipts one transaction records or reverses."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings

from orderflow.core.database import upsert
from orderflow.core.errors import ConflictError
from orderflow.core.quantities import ProductQuantity, validate_lines
from orderflow.messaging.messages import UnexpectedMessage
from purchase.contract import (
    GoodsReceived,
    PeggedQuantity,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    ReverseReceipt,
)
from purchase.lifecycle import (
    OrderedLine,
    PurchaseOrderAction,
    Status,
    distribute_receipt,
    status_after_reversal,
)
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt, ReceiptLine
from purchase.services.work import Work

EXTERNAL_TOLERANCE = 100  # percent; the external system has its own over-receipt tolerance


@dataclass(frozen=True, kw_only=True)
class ReceiptDraft:
    """A receipt to record. An id is recorded only once.

    `lines`: None means everything outstanding.
    """

    purchase_order_id: UUID
    lines: Sequence[ProductQuantity] | None = None
    id: UUID = field(default_factory=uuid.uuid4)


class ReceiptAlreadyExists(ConflictError):
    """Another receipt has this id."""

    code = "receipt_already_exists"

    def __init__(self, receipt_id: UUID) -> None:
        super().__init__(
            f"Another receipt has the id {receipt_id}. Choose a different id. "
            "No changes were made."
        )


class ReceiptWork(Work):
    """Work that also loads the lines, and the receipts that exist with these ids."""

    def __init__(
        self,
        locked: Iterable[PurchaseOrder],
        *,
        receipt_ids: Collection[UUID],
        actor: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(locked, actor=actor, reason=reason)
        self._lines: dict[UUID, list[PurchaseOrderLine]] = defaultdict(list)
        rows = PurchaseOrderLine.objects.filter(order__in=self.orders).select_related("product")
        for line in rows:
            self._lines[line.order_id].append(line)
        self._receipts = Receipt.objects.in_bulk(list(receipt_ids))
        self._receipt_lines: dict[UUID, list[ReceiptLine]] = defaultdict(list)
        line_by_id = {line.pk: line for lines in self._lines.values() for line in lines}
        for row in ReceiptLine.objects.filter(receipt__in=self._receipts).order_by("id"):
            # Use the loaded line, so that changes of `received` are shared. Lines of other
            # purchase orders are not loaded.
            row.line = line_by_id.get(row.line_id) or row.line
            self._receipt_lines[row.receipt_id].append(row)
        self._changed_lines: dict[int, PurchaseOrderLine] = {}
        self._new_receipts: list[Receipt] = []
        self._new_receipt_lines: list[ReceiptLine] = []
        self._reversed_lines: dict[int, ReceiptLine] = {}

    def receive(self, draft: ReceiptDraft) -> Receipt:
        """Record a receipt, or return the existing one with the same id and content.

        Raises: the errors of `local_order` and `distribute_receipt`, `ReceiptAlreadyExists`,
        `LinesRequired`, `QuantityOutOfRange`.
        """
        order = self.local_order(draft.purchase_order_id)
        received = _by_product(draft.lines)
        if draft.id in self._receipts:
            return self._existing_receipt(draft, received)
        tolerance = settings.ORDERFLOW_OVER_RECEIPT_TOLERANCE
        return self._record_receipt(order, draft.id, received, tolerance=tolerance)

    def receive_external(self, draft: ReceiptDraft, *, final: bool) -> None:
        """Record what an external system received; `final`: no further goods will arrive.

        Raises: `PurchaseOrderNotFound`, `ReceiptAlreadyExists`, the errors of
        `distribute_receipt`.
        """
        order = self.order(draft.purchase_order_id)
        if draft.lines:
            if draft.id in self._receipts:
                raise ReceiptAlreadyExists(draft.id)
            received = _by_product(draft.lines)
            self._record_receipt(order, draft.id, received, tolerance=EXTERNAL_TOLERANCE)
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

    def reverse(self, reversal: ReverseReceipt) -> None:
        """Raises: `UnexpectedMessage` if the receipt did not record this quantity."""
        receipt = self._receipts.get(reversal.receipt_id)
        if receipt is None:
            raise UnexpectedMessage(f"No receipt has the id {reversal.receipt_id}.")
        order = self.orders[receipt.order_id]
        self._reverse_lines(receipt, reversal.line)
        before = order.status
        lines = [_ordered_line(line) for line in self._lines[order.id]]
        self._set_status(order, status_after_reversal(Status(before), lines))
        if order.status == Status.OPEN and order.withdrawn:
            # A withdrawn purchase order is kept only while it has received goods.
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

    def _write(self) -> None:
        super()._write()
        upsert(list(self._changed_lines.values()), ["received"])
        Receipt.objects.bulk_create(self._new_receipts)
        ReceiptLine.objects.bulk_create(self._new_receipt_lines)
        upsert(list(self._reversed_lines.values()), ["reversed"])

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

    def _record_receipt(
        self,
        order: PurchaseOrder,
        receipt_id: UUID,
        received: Mapping[UUID, int] | None,
        *,
        tolerance: int,
    ) -> Receipt:
        lines = self._lines[order.id]
        status, quantities = distribute_receipt(
            Status(order.status),
            [_ordered_line(line) for line in lines],
            received,
            reference=order.reference,
            tolerance=tolerance,
        )
        self._set_status(order, status)
        receipt = self._add_receipt(order, receipt_id)
        received_lines = [
            (line, quantity) for line, quantity in zip(lines, quantities, strict=True) if quantity
        ]
        for line, quantity in received_lines:
            self._add_received(line, quantity)
            row = ReceiptLine(receipt=receipt, line=line, quantity=quantity)
            self._receipt_lines[receipt.id].append(row)
            self._new_receipt_lines.append(row)
        self._publish(_goods_received(receipt, received_lines, final=status == Status.RECEIVED))
        return receipt

    def _add_receipt(self, order: PurchaseOrder, receipt_id: UUID) -> Receipt:
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
        return receipt

    def _reverse_lines(self, receipt: Receipt, reversed_line: ProductQuantity) -> None:
        """Reduce the received quantities, starting at the last line of the product."""
        left = reversed_line.quantity
        for row in reversed(self._receipt_lines[receipt.id]):
            if row.line.product_id == reversed_line.product_id:
                quantity = min(row.quantity - row.reversed, left)
                row.reversed += quantity
                self._reversed_lines[row.pk] = row
                self._add_received(row.line, -quantity)
                left -= quantity
        if left:
            raise UnexpectedMessage(
                f"Receipt {receipt.id} recorded {left:,} less than the quantity to reverse."
            )

    def _add_received(self, line: PurchaseOrderLine, quantity: int) -> None:
        line.received += quantity
        self._changed_lines[line.pk] = line


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
    receipt: Receipt, lines: Sequence[tuple[PurchaseOrderLine, int]], *, final: bool
) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=receipt.order_id,
        receipt_id=receipt.id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=quantity, pegged_to=line.pegged_to)
            for line, quantity in lines
        ),
        final=final,
        sequence_number=receipt.sequence_number,
    )
