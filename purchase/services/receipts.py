"""Record receipts."""

from collections.abc import Collection, Sequence
from uuid import UUID

from orderflow.core.database import retry_on_unique_violation
from purchase.models import PurchaseOrder, Receipt
from purchase.services.work import ReceiptDraft, Work


@retry_on_unique_violation
def receive_goods(
    drafts: Sequence[ReceiptDraft], *, actor: str = "", reason: str = ""
) -> list[Receipt]:
    """Record all receipts or none, and return them. A receipt id is recorded once.

    Locks: the purchase orders, by id.
    Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsExternal`, `NothingOutstanding`,
    `QuantityExceedsOrdered`, `ProductNotOrdered`, `ReceiptAlreadyExists`, `LinesRequired`,
    `QuantityOutOfRange`, `ReasonTooLong`.
    """
    rows = PurchaseOrder.objects.filter(id__in=[draft.purchase_order_id for draft in drafts])
    receipt_ids = [draft.id for draft in drafts]
    work = Work(rows.locked(), receipts=receipt_ids, actor=actor, reason=reason)
    receipts = [work.receive(draft) for draft in drafts]
    work.save()
    return receipts


@retry_on_unique_violation
def receive_outstanding(purchase_order_ids: Collection[UUID], *, actor: str) -> list[Receipt]:
    """Record everything outstanding of those of these purchase orders that are open now.

    Locks: the purchase orders, by id. Raises: `PurchaseOrderIsExternal`.
    """
    rows = PurchaseOrder.objects.filter(id__in=purchase_order_ids).open().locked()
    still_open = set(rows.values_list("id", flat=True))
    return receive_goods(
        [
            ReceiptDraft(purchase_order_id=each)
            for each in purchase_order_ids
            if each in still_open
        ],
        actor=actor,
    )
