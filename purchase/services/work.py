"""The purchase orders that one transaction changes."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from orderflow.core.database import upsert
from orderflow.core.errors import ConflictError, NotFoundError
from orderflow.core.reasons import validate_reason
from orderflow.messaging.messages import Message
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import (
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
)
from purchase.lifecycle import OPEN_STATUSES, PurchaseOrderAction, Status, decide
from purchase.models import PurchaseOrder, PurchaseOrderHistoryEntry

_PURCHASE_ORDER_FIELDS = [
    "status",
    "updated_at",
    "expected_at",
    "overdue",
    "withdrawn",
    "last_sequence_number",
]


class PurchaseOrderNotFound(NotFoundError):
    """No purchase order has this id."""

    code = "purchase_order_not_found"

    def __init__(self, purchase_order_id: UUID) -> None:
        super().__init__(
            f"No purchase order has the id {purchase_order_id}. Check the id. "
            "No changes were made."
        )


class PurchaseOrderClosed(ConflictError):
    """The purchase order is closed: no further goods are expected."""

    code = "purchase_order_closed"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is closed: its status is {Status(order.status).text}. "
            "Create a purchase order for goods that are still needed; record goods that arrived "
            "as a stock adjustment. No changes were made."
        )


class PurchaseOrderIsExternal(ConflictError):
    """The purchase order is managed by an external system."""

    code = "purchase_order_is_external"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(
            f"Purchase order {order} is managed by an external system. "
            "Receive, cancel or close it in that system. No changes were made."
        )


class Work:
    """The purchase orders of one transaction: locked once, changed in memory, saved once.

    `cause`: id of the message that causes the next changes. `actor` and `reason`: of the user or
    command that causes all changes. Raises: `ReasonTooLong`.
    """

    def __init__(
        self, locked: Iterable[PurchaseOrder], *, actor: str = "", reason: str = ""
    ) -> None:
        self.cause: int | None = None
        self.orders = {row.id: row for row in locked}
        self._now = timezone.now()
        self._actor = actor
        self._reason = validate_reason(reason)
        self._changed: dict[UUID, PurchaseOrder] = {}
        self._history: list[PurchaseOrderHistoryEntry] = []
        self._outgoing: list[OutgoingMessage] = []

    def order(self, purchase_order_id: UUID) -> PurchaseOrder:
        """Raises: `PurchaseOrderNotFound`."""
        if purchase_order_id not in self.orders:
            raise PurchaseOrderNotFound(purchase_order_id)
        return self.orders[purchase_order_id]

    def local_order(self, purchase_order_id: UUID) -> PurchaseOrder:
        """Raises: `PurchaseOrderNotFound`, `PurchaseOrderIsExternal`."""
        order = self.order(purchase_order_id)
        if order.external:
            raise PurchaseOrderIsExternal(order)
        return order

    def cancel(self, purchase_order_id: UUID) -> None:
        """Raises: the errors of `local_order`, `PurchaseOrderCannotBeCancelled`."""
        order = self.local_order(purchase_order_id)
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

    def close_short(self, purchase_order_id: UUID) -> None:
        """Raises: the errors of `local_order`, `PurchaseOrderCannotBeClosedShort`."""
        order = self.local_order(purchase_order_id)
        self._close(
            order, PurchaseOrderAction.CLOSE_SHORT, "closed short", PurchaseOrderClosedShort
        )

    def reschedule(self, purchase_order_id: UUID, expected_at: datetime) -> None:
        """Raises: `PurchaseOrderNotFound`, `PurchaseOrderClosed`."""
        order = self.order(purchase_order_id)
        if order.status not in OPEN_STATUSES:
            raise PurchaseOrderClosed(order)
        if order.expected_at == expected_at:
            return
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

    def save(self) -> int:
        """Write the changes and publish the messages; return how many purchase orders changed."""
        self._write()
        publish(self._outgoing)
        return len(self._changed)

    def _write(self) -> None:
        for order in self._changed.values():
            order.updated_at = self._now
        upsert(list(self._changed.values()), _PURCHASE_ORDER_FIELDS)
        PurchaseOrderHistoryEntry.objects.bulk_create(self._history)

    def _close(
        self,
        order: PurchaseOrder,
        action: PurchaseOrderAction,
        description: str,
        event: type[PurchaseOrderCancelled] | type[PurchaseOrderClosedShort],
    ) -> None:
        """Apply the action; if the status changes, record it and publish the event."""
        before = order.status
        after = decide(Status(before), action, reference=order.reference)
        if after != before:
            self._set_status(order, after)
            self._record_history(order, before, description)
            self._publish(
                event(purchase_order_id=order.id, sequence_number=order.last_sequence_number + 1)
            )

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
