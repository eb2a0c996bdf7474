"""External purchasing: send purchase orders to another system, and record what it received.

Each external purchase order is also stored locally, so that users see what is on order. Locally,
users can only reschedule it and reverse its receipts. The external system reports receipts and
closes the purchase order.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from orderflow.catalog.services import skus
from orderflow.core.database import retry_on_unique_violation
from orderflow.core.errors import ConflictError, DomainError
from orderflow.core.http_client import problem_code
from orderflow.core.quantities import LinesRequired, ProductQuantity, validate_lines
from orderflow.messaging.messages import ReceivedMessage, RetryLater, UnexpectedMessage
from purchase.contract import CreatePurchaseOrder, WithdrawPurchaseOrder
from purchase.lifecycle import OPEN_STATUSES, ProductNotOrdered, Status
from purchase.models import ExternalReceipt, ExternalReceiptLine, PurchaseOrder, Receipt
from purchase.services.creation import PurchaseOrderDraft, create_purchase_orders
from purchase.services.messages import apply_commands
from purchase.services.receipt_work import ReceiptAlreadyExists, ReceiptDraft, ReceiptWork
from purchase.services.work import PurchaseOrderClosed, PurchaseOrderNotFound

logger = logging.getLogger(__name__)

# Seconds to connect, and to wait for the response; together shorter than `consuming.LEASE`.
TIMEOUTS = (3.05, 15)
# Problem codes of the external system.
NOT_FOUND = "purchase_order_not_found"
CANNOT_BE_CANCELLED = "purchase_order_cannot_be_cancelled"
WITHDRAW_REASON = "Sales no longer needs this purchase order."


class RejectedByExternalSystem(UnexpectedMessage):
    """The external system rejected the command. Fix the cause, then replay the message."""


class PurchaseOrderIsNotExternal(ConflictError):
    """The purchase order is not external: it is received here."""

    code = "purchase_order_is_not_external"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is not external. "
            f"Receive it at /api/v1/purchase/orders/{order.id}/receive/. No changes were made."
        )


class ExternalReceiptAlreadyExists(ConflictError):
    """This sequence number was reported before with other content."""

    code = "external_receipt_already_exists"

    def __init__(self, order: PurchaseOrder, sequence_number: int) -> None:
        super().__init__(
            f"External receipt {sequence_number} of purchase order {order} was reported before "
            "with other content. Use the next sequence number. No changes were made."
        )


@dataclass(frozen=True, kw_only=True)
class ExternalReceiptDraft:
    """A receipt that an external system reports.

    `sequence_number`: 1 for the first receipt of the purchase order. `lines`: empty only if
    `final`. `final`: no further goods will arrive.
    """

    purchase_order_id: UUID
    sequence_number: int
    id: UUID
    lines: Sequence[ProductQuantity]
    final: bool


def handle_external_messages(batch: Sequence[ReceivedMessage]) -> None:
    """Send commands to the external system; a non-transactional handler.

    A command may be sent twice; the second time has no effect. A purchase order is stored locally
    before it is sent, so that it exists when a receipt is reported. Commands about local purchase
    orders are applied locally.
    Raises: `RetryLater` if the external system is unavailable; `RejectedByExternalSystem`.
    """
    for received in batch:
        match received.message:
            case CreatePurchaseOrder() as command if not _is_local(command.purchase_order_id):
                _send_purchase_order(command)
            case WithdrawPurchaseOrder() as command if not _is_local(command.purchase_order_id):
                rejection = _post(
                    f"orders/{command.purchase_order_id}/cancel/",
                    {"reason": WITHDRAW_REASON},
                    accepted_codes=(NOT_FOUND, CANNOT_BE_CANCELLED),
                )
                # If it cannot be cancelled, it was received or closed: a report will follow.
                if rejection != CANNOT_BE_CANCELLED:
                    _apply_locally(received)
            case _:
                _apply_locally(received)


def check_external(purchase_order_id: UUID) -> None:
    """Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsNotExternal`."""
    _external_order(PurchaseOrder.objects.all(), purchase_order_id)


@retry_on_unique_violation
def receive_external(draft: ExternalReceiptDraft, *, actor: str) -> ExternalReceipt:
    """Store a receipt of the external system; apply it and the buffered ones after it in sequence.

    If the sequence number is stored with the same content, nothing changes.
    Locks: the purchase order.
    Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsNotExternal`,
    `ExternalReceiptAlreadyExists`, `PurchaseOrderClosed`, `ReceiptAlreadyExists`,
    `LinesRequired`, `QuantityOutOfRange`, `ProductNotOrdered`, and `QuantityExceedsOrdered` if
    the receipt is applied at once.
    """
    lines = validate_lines(draft.lines) if draft.lines else ()
    if not lines and not draft.final:
        raise LinesRequired()
    order = _external_order(PurchaseOrder.objects.locked(), draft.purchase_order_id)
    existing = order.external_receipts.filter(sequence_number=draft.sequence_number).first()
    if existing is None:
        _check_applicable(order, draft, lines)
        _store(order, draft, lines, actor)
        _apply_in_sequence(order, draft.sequence_number, actor)
    else:
        stored = (existing.receipt_id, existing.final, _lines_of(existing))
        if stored != (draft.id, draft.final, set(lines)):
            raise ExternalReceiptAlreadyExists(order, draft.sequence_number)
    rows = order.external_receipts.prefetch_related("lines__product")
    return rows.get(sequence_number=draft.sequence_number)


# -- commands to the external system -------------------------------------------------------------


def _is_local(purchase_order_id: UUID) -> bool:
    """Return whether the purchase order was created before purchasing became external."""
    return PurchaseOrder.objects.filter(id=purchase_order_id, external=False).exists()


def _send_purchase_order(command: CreatePurchaseOrder) -> None:
    draft = PurchaseOrderDraft(id=command.purchase_order_id, lines=command.lines, external=True)
    [order] = create_purchase_orders([draft])
    if order.status != Status.CANCELLED:  # cancelled: withdrawn before it was created
        _post("orders/", _as_json(command))


@transaction.atomic
def _apply_locally(received: ReceivedMessage) -> None:
    apply_commands([received])


def _as_json(command: CreatePurchaseOrder) -> dict[str, Any]:
    quantities = validate_lines(
        ProductQuantity(product_id=line.product_id, quantity=line.quantity)
        for line in command.lines
    )
    sku_by_id = skus(line.product_id for line in quantities)
    lines = [{"sku": sku_by_id[line.product_id], "quantity": line.quantity} for line in quantities]
    return {"id": str(command.purchase_order_id), "lines": lines}


def _post(path: str, body: Mapping[str, Any], *, accepted_codes: Collection[str] = ()) -> str:
    """POST to the external system; return "" on success, or a problem code in `accepted_codes`.

    Raises: `RejectedByExternalSystem`, `RetryLater`.
    """
    url = f"{settings.ORDERFLOW_EXTERNAL_PURCHASE_URL.rstrip('/')}/api/v1/purchase/{path}"
    headers = {"Authorization": f"Token {settings.ORDERFLOW_EXTERNAL_PURCHASE_TOKEN}"}
    try:
        response = requests.post(
            url, json=body, headers=headers, timeout=TIMEOUTS, allow_redirects=False
        )
    except requests.RequestException as error:
        raise RetryLater(f"{url} is unavailable: {error}") from error
    if 200 <= response.status_code < 300:
        return ""
    code = problem_code(response)
    if code in accepted_codes:
        return code
    error_text = f"{url} returned status {response.status_code}: {response.text[:500]}"
    if response.status_code in (400, 409, 422):
        raise RejectedByExternalSystem(error_text)
    # Other failures do not depend on the message: an outage, an invalid token, a proxy.
    raise RetryLater(error_text)


# -- reports of the external system --------------------------------------------------------------


def _external_order(orders: QuerySet[PurchaseOrder], purchase_order_id: UUID) -> PurchaseOrder:
    """Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsNotExternal`."""
    order = orders.filter(id=purchase_order_id).first()
    if order is None:
        raise PurchaseOrderNotFound(purchase_order_id)
    if not order.external:
        raise PurchaseOrderIsNotExternal(order)
    return order


def _check_applicable(
    order: PurchaseOrder, draft: ExternalReceiptDraft, lines: Sequence[ProductQuantity]
) -> None:
    """Reject a receipt that could never be applied, so that it does not block later ones."""
    if not lines:
        return
    if order.status not in OPEN_STATUSES:
        raise PurchaseOrderClosed(order)
    ordered = set(order.lines.values_list("product_id", flat=True))
    for line in lines:
        if line.product_id not in ordered:
            raise ProductNotOrdered(order.reference, line.product_id)
    reported = ExternalReceipt.objects.filter(receipt_id=draft.id, lines__isnull=False)
    if reported.exists() or Receipt.objects.filter(id=draft.id).exists():
        raise ReceiptAlreadyExists(draft.id)


def _store(
    order: PurchaseOrder,
    draft: ExternalReceiptDraft,
    lines: Sequence[ProductQuantity],
    actor: str,
) -> None:
    row = ExternalReceipt.objects.create(
        order=order,
        sequence_number=draft.sequence_number,
        receipt_id=draft.id,
        final=draft.final,
        actor=actor,
        created_at=timezone.now(),
    )
    ExternalReceiptLine.objects.bulk_create(
        ExternalReceiptLine(
            external_receipt=row, product_id=line.product_id, quantity=line.quantity
        )
        for line in lines
    )


def _apply_in_sequence(order: PurchaseOrder, sequence_number: int, actor: str) -> None:
    """Apply buffered receipts in sequence, up to the first gap, if this number is among them.

    If a receipt that was buffered before cannot be applied, it stays buffered and an error is
    logged. Raises: the error of the receipt with this number.
    """
    rows = order.external_receipts.filter(applied=False).prefetch_related("lines")
    buffered = rows.order_by("sequence_number")
    next_in_sequence = list(_without_gap(buffered, after=order.last_sequence_number))
    if sequence_number not in [row.sequence_number for row in next_in_sequence]:
        return
    for row in next_in_sequence:
        try:
            _apply(order, row, actor)
        except DomainError as error:
            if row.sequence_number == sequence_number:
                raise
            logger.error("%s stays buffered: %s", row, error)
            return


@transaction.atomic
def _apply(order: PurchaseOrder, row: ExternalReceipt, actor: str) -> None:
    work = ReceiptWork([order], receipt_ids=[row.receipt_id], actor=actor)
    draft = ReceiptDraft(purchase_order_id=order.id, id=row.receipt_id, lines=list(_lines_of(row)))
    work.receive_external(draft, final=row.final)
    work.save()
    row.applied = True
    row.save(update_fields=["applied"])


def _without_gap(buffered: Iterable[ExternalReceipt], *, after: int) -> Iterator[ExternalReceipt]:
    """Yield the receipts whose sequence numbers follow `after` without a gap."""
    for sequence_number, row in enumerate(buffered, after + 1):
        if row.sequence_number != sequence_number:
            return
        yield row


def _lines_of(row: ExternalReceipt) -> set[ProductQuantity]:
    return {
        ProductQuantity(product_id=line.product_id, quantity=line.quantity)
        for line in row.lines.all()
    }
