"""Record receipts."""

from collections.abc import Collection, Sequence
from uuid import UUID

from orderflow.core.database import retry_on_unique_violation
from purchase.models import PurchaseOrder, Receipt
from purchase.services.receipt_work import ReceiptDraft, ReceiptWork


@retry_on_unique_violation
def receive_goods(
    drafts: Sequence[ReceiptDraft], *, actor: str = "", reason: str = ""
) -> list[Receipt]:
    """Record all receipts or none, and return them.

    If the id of a draft is recorded with the same content, the existing receipt is returned.
    Locks: the purchase orders, by id.
    Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsExternal`, `PurchaseOrderCannotBeReceived`,
    `QuantityExceedsOrdered`, `ProductNotOrdered`, `ReceiptAlreadyExists`, `LinesRequired`,
    `QuantityOutOfRange`, `ReasonTooLong`.
    """
    rows = PurchaseOrder.objects.filter(id__in=[draft.purchase_order_id for draft in drafts])
    receipt_ids = [draft.id for draft in drafts]
    work = ReceiptWork(rows.locked(), receipt_ids=receipt_ids, actor=actor, reason=reason)
    receipts = [work.receive(draft) for draft in drafts]
    work.save()
    return receipts


@retry_on_unique_violation
def receive_outstanding(purchase_order_ids: Collection[UUID], *, actor: str) -> list[Receipt]:
    """Record everything outstanding of these purchase orders, and return the receipts.

    Closed purchase orders are skipped.
    Locks: the purchase orders, by id. Raises: `PurchaseOrderIsExternal`.
    """
    rows = PurchaseOrder.objects.filter(id__in=purchase_order_ids).open().locked()
    open_ids = set(rows.values_list("id", flat=True))
    drafts = [
        ReceiptDraft(purchase_order_id=each) for each in purchase_order_ids if each in open_ids
    ]
    return receive_goods(drafts, actor=actor)
