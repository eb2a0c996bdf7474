"""Purchase as a consumer of messages."""

from collections.abc import Sequence

from orderflow.messaging.messages import ReceivedMessage, UnexpectedMessage
from purchase.contract import CreatePurchaseOrder, ReverseReceipt, WithdrawPurchaseOrder
from purchase.models import PurchaseOrder, Receipt
from purchase.services.creation import PurchaseOrderDraft, create_purchase_orders
from purchase.services.receipt_work import ReceiptWork


def handle_messages(batch: Sequence[ReceivedMessage]) -> None:
    """Apply a batch of commands to purchase orders, inside the drain's transaction.

    A purchase order that is created and withdrawn in one batch is cancelled, in either order.
    Locks: the purchase orders, by id. Raises: `UnexpectedMessage`.
    """
    for received in batch:
        message = received.message
        if not isinstance(message, CreatePurchaseOrder | WithdrawPurchaseOrder | ReverseReceipt):
            raise UnexpectedMessage(f"Purchase does not handle {type(message).__name__}.")
    purchase_order_ids = [
        received.message.purchase_order_id
        for received in batch
        if isinstance(received.message, CreatePurchaseOrder | WithdrawPurchaseOrder)
    ]
    external = PurchaseOrder.objects.filter(id__in=purchase_order_ids, external=True).first()
    if external:
        raise UnexpectedMessage(
            f"Purchase order {external} is managed by an external system, but "
            "ORDERFLOW_EXTERNAL_PURCHASE_URL is not set. Set it, then replay this message."
        )
    apply_commands(batch)


def apply_commands(batch: Sequence[ReceivedMessage]) -> None:
    """Apply a batch of commands to purchase orders, local and external ones.

    Locks: the purchase orders, by id. Raises: `UnexpectedMessage`, and the errors of
    `create_purchase_orders`.
    """
    commands = [
        received.message for received in batch if isinstance(received.message, CreatePurchaseOrder)
    ]
    create_purchase_orders(
        [
            PurchaseOrderDraft(id=command.purchase_order_id, lines=command.lines)
            for command in commands
        ]
    )
    _withdraw_and_reverse(
        [each for each in batch if not isinstance(each.message, CreatePurchaseOrder)]
    )


def _withdraw_and_reverse(batch: Sequence[ReceivedMessage]) -> None:
    if not batch:
        return
    messages = [received.message for received in batch]
    withdrawn_ids = {
        each.purchase_order_id for each in messages if isinstance(each, WithdrawPurchaseOrder)
    }
    receipt_ids = {each.receipt_id for each in messages if isinstance(each, ReverseReceipt)}
    # Read without a lock: the purchase order of a receipt never changes.
    reversed_ids = Receipt.objects.filter(id__in=receipt_ids).values_list("order_id", flat=True)
    rows = PurchaseOrder.objects.filter(id__in=withdrawn_ids | set(reversed_ids))
    work = ReceiptWork(rows.locked(), receipt_ids=receipt_ids)
    for received in batch:
        work.cause = received.id
        match received.message:
            case WithdrawPurchaseOrder() as command:
                work.withdraw(command.purchase_order_id)
            case ReverseReceipt() as reversal:
                work.reverse(reversal)
    work.save()
