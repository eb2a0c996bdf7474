"""The processes of sales orders that one transaction advances."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orderflow.core.database import upsert
from orderflow.core.errors import NotFoundError
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Message, ReceivedMessage, UnexpectedMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from orderflow.messaging.queries import unhandled
from sales.models import (
    DeliveryMode,
    LinkedPurchaseOrder,
    LinkedPurchaseOrderLine,
    OrderStatus,
    OrderStatusChange,
    SalesOrder,
)
from sales.process_manager import (
    Facts,
    OpenPurchaseOrder,
    Process,
    RetryReservation,
    Status,
    WithdrawPolicy,
    decide,
)

logger = logging.getLogger(__name__)

STOCK_CONSUMER = "stock"  # must have caught up before a retry

Lines = tuple[ProductQuantity, ...]

_PROCESS_FIELDS = [
    "status",
    "status_changed_at",
    "updated_at",
    "revision",
    "request_number",
    "purchase_order_id",
    "purchase_count",
    "needs_attention",
    "overdue",
]


class SalesOrderNotFound(NotFoundError):
    """No sales order has this id."""

    code = "sales_order_not_found"

    def __init__(self, sales_order_id: UUID) -> None:
        super().__init__(
            f"No sales order has the id {sales_order_id}. Check the id. No changes were made."
        )


class Work:
    """The processes of one transaction: loaded once, changed in memory, saved once."""

    def __init__(
        self,
        order_statuses: Iterable[OrderStatus],
        *,
        purchase_orders: Iterable[LinkedPurchaseOrder] = (),
        lines: Mapping[UUID, Lines] | None = None,
    ) -> None:
        self.now = timezone.now()
        self.order_statuses = {row.order_id: row for row in order_statuses}
        self._linked: dict[UUID, dict[UUID, LinkedPurchaseOrder]] = {
            order_id: {} for order_id in self.order_statuses
        }
        for row in purchase_orders:
            self._linked[row.order_status_id][row.purchase_order_id] = row
        ordered = self._ordered_lines()
        self._processes = {
            order_id: self._process(row, ordered) for order_id, row in self.order_statuses.items()
        }
        self._lines = lines or {}
        self._unhandled_by_stock: set[int] = set()
        self._changed: dict[UUID, OrderStatus] = {}
        self._changed_linked: dict[UUID, LinkedPurchaseOrder] = {}
        self._new_linked_lines: list[LinkedPurchaseOrderLine] = []
        self._history: list[OrderStatusChange] = []
        self._outgoing: list[OutgoingMessage] = []

    @classmethod
    def load(cls, locked: Iterable[OrderStatus]) -> "Work":
        """Load the processes of these locked rows, with their linked purchase orders."""
        locked = list(locked)
        linked = LinkedPurchaseOrder.objects.filter(order_status__in=locked)
        return cls(locked, purchase_orders=linked.order_by("request_number"))

    def order_status(self, sales_order_id: UUID) -> OrderStatus:
        """Raises: `SalesOrderNotFound`."""
        if sales_order_id not in self.order_statuses:
            raise SalesOrderNotFound(sales_order_id)
        return self.order_statuses[sales_order_id]

    def prepare_retries(self, batch: Sequence[ReceivedMessage]) -> None:
        """Read what the retries of the batch need: Stock's backlog and the lines of the orders."""
        retried = [
            received.message.sales_order_id
            for received in batch
            if isinstance(received.message, RetryReservation)
        ]
        if not retried:
            return
        # A message of this batch that closes a linked purchase order schedules a newer retry, so
        # the retries after it are stale. Only messages of earlier batches need the check.
        closing_message_ids = [
            row.closed_by_message_id
            for linked in self._linked.values()
            for row in linked.values()
            if row.closed_by_message_id
        ]
        self._unhandled_by_stock = unhandled(STOCK_CONSUMER, closing_message_ids)
        orders = SalesOrder.objects.filter(id__in=retried).prefetch_related("lines")
        self._lines = {order.id: order.product_quantities() for order in orders}

    def apply(
        self,
        sales_order_id: UUID,
        message: object,
        *,
        message_id: int | None = None,
        actor: str = "",
        reason: str = "",
    ) -> None:
        """Apply the transition for the message in memory; `save()` writes the result.

        Raises: `UnexpectedMessage`, and the errors of the process manager.
        """
        if sales_order_id not in self._processes:
            raise UnexpectedMessage(f"No sales order has the id {sales_order_id}.")
        before = self._processes[sales_order_id]
        decision = decide(before, message, self._facts(sales_order_id))
        self._processes[sales_order_id] = decision.process
        self._history += [
            OrderStatusChange(
                order_status_id=sales_order_id,
                from_status=from_status,
                to_status=to_status,
                message_id=message_id,
                actor=actor,
                reason=reason,
                created_at=self.now,
            )
            for from_status, to_status in pairwise([before.status, *decision.entered])
        ]
        self._update_linked(before, decision.process, message_id)
        if decision.process != before or decision.entered:
            self._update_order_status(decision.process, entered=bool(decision.entered))
        self._outgoing += [
            OutgoingMessage(message=each, caused_by=message_id, countdown=_countdown(each))
            for each in decision.messages
        ]

    def save(self) -> int:
        """Write the decisions and publish their messages; return how many processes changed."""
        upsert(list(self._changed.values()), _PROCESS_FIELDS)
        upsert(list(self._changed_linked.values()), ["overdue", "closed_by_message_id"])
        LinkedPurchaseOrderLine.objects.bulk_create(self._new_linked_lines)
        OrderStatusChange.objects.bulk_create(self._history)
        publish(self._outgoing)
        if self._history and logger.isEnabledFor(logging.INFO):
            transaction.on_commit(self._log, robust=True)
        return len(self._changed)

    def _log(self) -> None:
        for change in self._history:
            reference = self.order_statuses[change.order_status_id].order.reference
            cause = f"message {change.message_id}" if change.message_id else change.actor
            # Imports place thousands of orders, so placing is logged at DEBUG.
            level = logging.DEBUG if change.from_status == Status.NEW else logging.INFO
            logger.log(
                level,
                "Sales order %s: %s → %s (%s)",
                reference,
                change.from_status,
                change.to_status,
                cause or "placed",
            )

    def _facts(self, sales_order_id: UUID) -> Facts:
        closed_by = {row.closed_by_message_id for row in self._linked[sales_order_id].values()}
        return Facts(
            new_purchase_order_id=uuid.uuid4(),
            lines=self._lines.get(sales_order_id, ()),
            stock_has_caught_up=not closed_by & self._unhandled_by_stock,
            allow_partial=settings.ORDERFLOW_PURCHASE_QUANTITY == "shortage",
            retry_countdown=settings.ORDERFLOW_RETRY_COUNTDOWN,
            retry_countdown_max=settings.ORDERFLOW_RETRY_COUNTDOWN_MAX,
            max_repurchases=settings.ORDERFLOW_MAX_REPURCHASES,
            withdraw_policy=WithdrawPolicy(settings.ORDERFLOW_WITHDRAW_PURCHASE_ORDERS),
        )

    def _ordered_lines(self) -> Mapping[UUID, Lines]:
        """Return the lines of the open linked purchase orders, by purchase order id."""
        open_ids = [
            row.pk
            for linked in self._linked.values()
            for row in linked.values()
            if row.closed_by_message_id is None
        ]
        ordered: dict[UUID, Lines] = defaultdict(tuple)
        if open_ids:
            rows = LinkedPurchaseOrderLine.objects.filter(linked_purchase_order__in=open_ids)
            for line in rows:
                quantity = ProductQuantity(product_id=line.product_id, quantity=line.quantity)
                ordered[line.linked_purchase_order_id] += (quantity,)
        return ordered

    def _process(self, row: OrderStatus, ordered: Mapping[UUID, Lines]) -> Process:
        linked = self._linked[row.order_id].values()
        return Process(
            sales_order_id=row.order_id,
            automatic=row.order.delivery_mode == DeliveryMode.AUTOMATIC,
            priority=row.order.priority,
            placed_at=row.order.placed_at,
            status=Status(row.status),
            revision=row.revision,
            request_number=row.request_number,
            purchase_count=row.purchase_count,
            open_purchase_orders=tuple(
                OpenPurchaseOrder(
                    purchase_order_id=each.pk, lines=ordered[each.pk], overdue=each.overdue
                )
                for each in linked
                if each.closed_by_message_id is None
            ),
            needs_attention=row.needs_attention,
            overdue=row.overdue,
        )

    def _update_order_status(self, process: Process, *, entered: bool) -> None:
        row = self.order_statuses[process.sales_order_id]
        row.updated_at = self.now
        if entered:
            row.status_changed_at = self.now
        row.status = process.status
        row.revision = process.revision
        row.request_number = process.request_number
        awaits_goods = process.status == Status.AWAITING_GOODS_RECEIVED
        row.purchase_order_id = (
            process.open_purchase_orders[-1].purchase_order_id if awaits_goods else None
        )
        row.purchase_count = process.purchase_count
        row.needs_attention = process.needs_attention
        row.overdue = process.overdue
        self._changed[row.order_id] = row

    def _update_linked(self, before: Process, after: Process, message_id: int | None) -> None:
        linked = self._linked[after.sales_order_id]
        for order in after.open_purchase_orders:
            if order.purchase_order_id not in linked:
                self._add_linked(after, order)
            elif linked[order.purchase_order_id].overdue != order.overdue:
                row = linked[order.purchase_order_id]
                row.overdue = order.overdue
                self._changed_linked[row.pk] = row
        for order in before.open_purchase_orders:
            if not after.has_open(order.purchase_order_id):
                row = linked[order.purchase_order_id]
                row.closed_by_message_id = message_id
                self._changed_linked[row.pk] = row

    def _add_linked(self, process: Process, order: OpenPurchaseOrder) -> None:
        row = LinkedPurchaseOrder(
            purchase_order_id=order.purchase_order_id,
            order_status_id=process.sales_order_id,
            request_number=process.request_number,
            ordered_at=self.now,
        )
        self._linked[process.sales_order_id][row.pk] = self._changed_linked[row.pk] = row
        self._new_linked_lines += [
            LinkedPurchaseOrderLine(
                linked_purchase_order=row, product_id=line.product_id, quantity=line.quantity
            )
            for line in order.lines
        ]


def _countdown(message: Message) -> float:
    return message.countdown if isinstance(message, RetryReservation) else 0.0
