"""The process manager at work: processes being advanced in one transaction."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity
from orderflow.database import save_rows
from orderflow.messaging.consuming import not_handled
from orderflow.messaging.messages import Message, Received, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.refusals import NotFound
from sales.models import (
    DeliveryChoice,
    OrderPurchase,
    OrderPurchaseLine,
    OrderStatus,
    OrderStatusChange,
    SalesOrder,
)
from sales.process_manager import AG, NEW, CancelPurchases, Facts, OwnPurchase, Process, RetryReservation, State, decide

logger = logging.getLogger(__name__)

STOCK = "stock"  # the consumer that retries wait for

Lines = tuple[ProductQuantity, ...]

_REMEMBERED = [
    "state",
    "since",
    "updated_at",
    "revision",
    "request",
    "purchase_order_id",
    "times_bought",
    "needs_attention",
    "overdue",
]


class NoSuchOrder(NotFound):
    """There is no sales order with this id."""

    code = "no_such_order"

    def __init__(self, sales_order_id: UUID) -> None:
        super().__init__(f"There is no sales order {sales_order_id}.")


class Work:
    """Processes being advanced in one transaction: loaded once, folded in memory, written once."""

    def __init__(
        self,
        statuses: Iterable[OrderStatus],
        *,
        purchases: Iterable[OrderPurchase] = (),
        lines: Mapping[UUID, Lines] | None = None,
    ) -> None:
        self.now = timezone.now()
        self.statuses = {status.order_id: status for status in statuses}
        self._purchases: dict[UUID, dict[UUID, OrderPurchase]] = {order_id: {} for order_id in self.statuses}
        for purchase in purchases:
            self._purchases[purchase.status_id][purchase.purchase_order_id] = purchase
        ordered = self._ordered()
        self._processes = {order_id: self._process(status, ordered) for order_id, status in self.statuses.items()}
        self._lines = lines or {}
        self._not_handled_by_stock: set[int] = set()
        self._changed: dict[UUID, OrderStatus] = {}
        self._changed_purchases: dict[UUID, OrderPurchase] = {}
        self._new_purchase_lines: list[OrderPurchaseLine] = []
        self._history: list[OrderStatusChange] = []
        self._outgoing: list[Outgoing] = []

    @classmethod
    def on(cls, locked: Iterable[OrderStatus]) -> "Work":
        locked = list(locked)
        return cls(locked, purchases=OrderPurchase.objects.filter(status__in=locked).order_by("request"))

    def status(self, sales_order_id: UUID) -> OrderStatus:
        if sales_order_id not in self.statuses:
            raise NoSuchOrder(sales_order_id)
        return self.statuses[sales_order_id]

    def prepare_retries(self, batch: Sequence[Received]) -> None:
        """Look up, for the whole batch, what its retries ask: how far Stock is, and what was ordered."""
        retried = [each.message.sales_order_id for each in batch if isinstance(each.message, RetryReservation)]
        if not retried:
            return
        # What closes one in this very batch asks a newer question, and overtakes the retry: it need not be looked up.
        closing = [each.closed_by for own in self._purchases.values() for each in own.values() if each.closed_by]
        self._not_handled_by_stock = not_handled(STOCK, closing)
        orders = SalesOrder.objects.filter(id__in=retried).prefetch_related("lines")
        self._lines = {order.id: order.ordered() for order in orders}

    def apply(
        self, sales_order_id: UUID, message: object, *, message_id: int | None = None, by: str = "", reason: str = ""
    ) -> None:
        """Decide, and remember the decision for `save()`."""
        if sales_order_id not in self._processes:
            raise UnexpectedMessage(f"There is no sales order {sales_order_id}.")
        before = self._processes[sales_order_id]
        decision = decide(before, message, self._facts(sales_order_id))
        self._processes[sales_order_id] = decision.process
        for was, entered in zip([before.state, *decision.entered], decision.entered, strict=False):
            self._history.append(
                OrderStatusChange(
                    status_id=sales_order_id,
                    from_state=was,
                    to_state=entered,
                    message_id=message_id,
                    by=by,
                    reason=reason,
                    at=self.now,
                )
            )
        self._remember_purchases(before, decision.process, message_id)
        if decision.process != before or decision.entered:
            self._remember_status(decision.process, moved=bool(decision.entered))
        self._outgoing += [Outgoing(message=each, caused_by=message_id, countdown=_countdown(each)) for each in decision.messages]

    def save(self) -> int:
        """Write what was decided; returns how many processes it changed."""
        save_rows(list(self._changed.values()), _REMEMBERED)
        save_rows(list(self._changed_purchases.values()), ["late", "closed_by"])
        OrderPurchaseLine.objects.bulk_create(self._new_purchase_lines)
        OrderStatusChange.objects.bulk_create(self._history)
        publish(self._outgoing)
        if self._history and logger.isEnabledFor(logging.INFO):
            transaction.on_commit(self._log, robust=True)
        return len(self._changed)

    def _log(self) -> None:
        for change in self._history:
            reference = self.statuses[change.status_id].order.reference
            because = f"message {change.message_id}" if change.message_id else change.by or "placed"
            level = logging.DEBUG if change.from_state == NEW else logging.INFO  # imports place them by the thousand
            logger.log(level, "%s: %s, then %s (%s)", reference, change.from_state, change.to_state, because)

    def _facts(self, sales_order_id: UUID) -> Facts:
        closed_by = {purchase.closed_by for purchase in self._purchases[sales_order_id].values()}
        return Facts(
            new_purchase_order_id=uuid.uuid4(),
            lines=self._lines.get(sales_order_id, ()),
            stock_has_caught_up=not closed_by & self._not_handled_by_stock,
            hold_parts=settings.ORDERFLOW_BUY == "shortage",
            first_countdown=settings.ORDERFLOW_FIRST_COUNTDOWN,
            longest_countdown=settings.ORDERFLOW_LONGEST_COUNTDOWN,
            repurchases=settings.ORDERFLOW_REPURCHASES,
            cancel_purchases=CancelPurchases(settings.ORDERFLOW_CANCEL_PURCHASES),
        )

    def _ordered(self) -> Mapping[UUID, Lines]:
        """What was ordered with the purchase orders that are open."""
        still_open = [each.pk for own in self._purchases.values() for each in own.values() if each.closed_by is None]
        ordered: dict[UUID, Lines] = defaultdict(tuple)
        if still_open:
            for line in OrderPurchaseLine.objects.filter(purchase__in=still_open):
                ordered[line.purchase_id] += (ProductQuantity(product_id=line.product_id, quantity=line.quantity),)
        return ordered

    def _process(self, status: OrderStatus, ordered: Mapping[UUID, Lines]) -> Process:
        own = self._purchases[status.order_id].values()
        return Process(
            sales_order_id=status.order_id,
            automatic=status.order.delivery == DeliveryChoice.AUTOMATIC,
            priority=status.order.priority,
            placed_at=status.order.placed_at,
            state=State(status.state),
            revision=status.revision,
            request=status.request,
            times_bought=status.times_bought,
            open_purchases=tuple(
                OwnPurchase(purchase_order_id=each.pk, lines=ordered[each.pk], late=each.late)
                for each in own
                if each.closed_by is None
            ),
            needs_attention=status.needs_attention,
            overdue=status.overdue,
        )

    def _remember_status(self, process: Process, *, moved: bool) -> None:
        status = self.statuses[process.sales_order_id]
        status.updated_at = self.now
        if moved:
            status.since = self.now
        status.state = process.state
        status.revision = process.revision
        status.request = process.request
        status.purchase_order_id = process.open_purchases[-1].purchase_order_id if process.state == AG else None
        status.times_bought = process.times_bought
        status.needs_attention = process.needs_attention
        status.overdue = process.overdue
        self._changed[status.order_id] = status

    def _remember_purchases(self, before: Process, after: Process, message_id: int | None) -> None:
        own = self._purchases[after.sales_order_id]
        for bought in after.open_purchases:
            if bought.purchase_order_id not in own:
                row = OrderPurchase(
                    purchase_order_id=bought.purchase_order_id,
                    status_id=after.sales_order_id,
                    request=after.request,
                    ordered_at=self.now,
                )
                own[row.pk] = self._changed_purchases[row.pk] = row
                self._new_purchase_lines += [
                    OrderPurchaseLine(purchase=row, product_id=line.product_id, quantity=line.quantity) for line in bought.lines
                ]
            elif own[bought.purchase_order_id].late != bought.late:
                row = own[bought.purchase_order_id]
                row.late = bought.late
                self._changed_purchases[row.pk] = row
        for was_open in before.open_purchases:
            if not after.has_open(was_open.purchase_order_id):
                row = own[was_open.purchase_order_id]
                row.closed_by = message_id
                self._changed_purchases[row.pk] = row


def _countdown(message: Message) -> float:
    return message.countdown if isinstance(message, RetryReservation) else 0.0
