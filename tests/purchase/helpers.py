"""Factories of purchase orders and receipts."""

import uuid
from datetime import datetime
from typing import Any
from uuid import UUID

from orderflow.messaging.messages import Message, type_name
from orderflow.messaging.models import StoredMessage
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, Receipt
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    create_purchase_orders,
    receive_goods,
)
from tests.conftest import lines


def unpegged(**quantities: int) -> list[PeggedQuantity]:
    """Return lines by SKU that are not pegged to a reservation."""
    return [
        PeggedQuantity(product_id=line.product_id, quantity=line.quantity)
        for line in lines(**quantities)
    ]


def purchase_order(
    *, expected_at: datetime | None = None, external: bool = False, **quantities: int
) -> PurchaseOrder:
    draft = PurchaseOrderDraft(
        lines=unpegged(**quantities), expected_at=expected_at, external=external
    )
    return create_purchase_orders([draft])[0]


def receipt(
    purchase_order_id: UUID, *, receipt_id: UUID | None = None, **quantities: int
) -> ReceiptDraft:
    """Return a receipt of these quantities; without quantities, of everything outstanding."""
    return ReceiptDraft(
        purchase_order_id=purchase_order_id,
        id=receipt_id or uuid.uuid4(),
        lines=lines(**quantities) if quantities else None,
    )


def receive(order: PurchaseOrder, **quantities: int) -> Receipt:
    return receive_goods([receipt(order.id, receipt_id=None, **quantities)])[0]


def status(order: PurchaseOrder) -> str:
    return PurchaseOrder.objects.get(id=order.id).status


def published_messages(message_type: type[Message]) -> list[dict[str, Any]]:
    """Return the payloads of the published messages of this type, oldest first."""
    rows = StoredMessage.objects.filter(type=type_name(message_type)).order_by("id")
    return list(rows.values_list("payload", flat=True))
