"""What can be done with purchase orders, each in one transaction: create them, receive goods for them."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity, checked_lines
from orderflow.database import by_id, once_more_if_taken, refuse_taken_references, save_rows
from orderflow.messaging.messages import Received, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.refusals import Conflict, NotFound
from purchase.contract import CreatePurchaseOrder, GoodsReceived, PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt, ReceiptLine
from purchase.receiving import Outstanding, Status, receive

PeggedLines = dict[tuple[UUID, UUID | None], int]  # quantities by product and peg


@dataclass(frozen=True, kw_only=True)
class NewPurchaseOrder:
    """A purchase order to create. What is not given is made up: an id, and a reference from it."""

    lines: Sequence[PeggedQuantity]
    id: UUID = field(default_factory=uuid.uuid4)
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Goods that arrived for a purchase order. No `lines`: everything that is still to come."""

    purchase_order_id: UUID
    lines: Sequence[ProductQuantity] | None = None
    id: UUID = field(default_factory=uuid.uuid4)


class PurchaseOrderTaken(Conflict):
    code = "purchase_order_taken"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is another purchase order with the {what}. Nothing was ordered: choose a different one.")


class NoSuchPurchaseOrder(NotFound):
    code = "no_such_purchase_order"

    def __init__(self, purchase_order_id: UUID) -> None:
        super().__init__(f"There is no purchase order {purchase_order_id}.")


class ReceiptTaken(Conflict):
    code = "receipt_taken"

    def __init__(self, receipt_id: UUID) -> None:
        super().__init__(f"There is another receipt with the id {receipt_id}. Nothing was received: choose a different id.")


@once_more_if_taken
def create_purchase_orders(orders: Sequence[NewPurchaseOrder], *, by: str = "") -> list[PurchaseOrder]:
    """Order from suppliers, all or none. An order whose id exists with the same lines is the same order.

    Raises `PurchaseOrderTaken` for an id or a reference that belongs to another one, `NoLines`, `QuantityOutOfRange`.
    """
    distinct = by_id(orders, PurchaseOrderTaken)
    lines = {order.id: _checked(order.lines) for order in distinct.values()}
    known = _created_before(lines)
    new = {order.id: _new_row(order, by) for order in distinct.values() if order.id not in known}
    _insert(new, lines)
    return [known.get(order.id) or new[order.id] for order in orders]


@once_more_if_taken
def receive_goods(arrivals: Sequence[Arrival], *, by: str = "") -> list[Receipt]:
    """Goods arrived for purchase orders, all or none. A receipt id counts once. Locks the purchase orders, by id.

    Raises `NoSuchPurchaseOrder`, `NothingOutstanding`, `MoreThanOrdered`, `NotOnTheOrder`, `ReceiptTaken`, `NoLines`,
    `QuantityOutOfRange`.
    """
    work = _Receiving([arrival.purchase_order_id for arrival in arrivals], [arrival.id for arrival in arrivals], by)
    receipts = [work.receive(arrival) for arrival in arrivals]
    work.save()
    return receipts


def take(batch: Sequence[Received]) -> None:
    """Purchase as a consumer: create a batch of purchase orders, inside the drain's transaction. Raises `UnexpectedMessage`."""
    orders = []
    for received in batch:
        if not isinstance(received.message, CreatePurchaseOrder):
            raise UnexpectedMessage(f"Purchase does not handle {type(received.message).__name__}.")
        command = received.message
        orders.append(NewPurchaseOrder(id=command.purchase_order_id, lines=command.lines))
    create_purchase_orders(orders)


def _checked(lines: Sequence[PeggedQuantity]) -> PeggedLines:
    checked_lines(ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines)
    quantities: Counter[tuple[UUID, UUID | None]] = Counter()
    for line in lines:
        quantities[line.product_id, line.bought_for] += line.quantity
    return dict(quantities)


def _created_before(lines: Mapping[UUID, PeggedLines]) -> dict[UUID, PurchaseOrder]:
    known = PurchaseOrder.objects.prefetch_related("lines").in_bulk(lines)
    for order_id, row in known.items():
        if {(line.product_id, line.bought_for): line.quantity for line in row.lines.all()} != lines[order_id]:
            raise PurchaseOrderTaken(f"id {order_id}")
    return known


def _insert(orders: Mapping[UUID, PurchaseOrder], lines: Mapping[UUID, PeggedLines]) -> None:
    refuse_taken_references([order.reference for order in orders.values()], PurchaseOrder.objects.all(), PurchaseOrderTaken)
    PurchaseOrder.objects.bulk_create(sorted(orders.values(), key=lambda order: order.reference))  # inserts wait for each other
    PurchaseOrderLine.objects.bulk_create(
        PurchaseOrderLine(order_id=order_id, product_id=product_id, quantity=quantity, bought_for=bought_for)
        for order_id in orders
        for (product_id, bought_for), quantity in lines[order_id].items()
    )


def _new_row(order: NewPurchaseOrder, by: str) -> PurchaseOrder:
    return PurchaseOrder(id=order.id, reference=order.reference or f"PO-{order.id.hex[:16]}", by=by)


class _Receiving:
    """Purchase orders that goods arrive for, in one transaction: locked in one pass, written once."""

    def __init__(self, purchase_order_ids: Sequence[UUID], receipt_ids: Sequence[UUID], by: str) -> None:
        self._now: datetime = timezone.now()
        self._by = by
        self._orders = {row.id: row for row in PurchaseOrder.objects.filter(id__in=purchase_order_ids).locked()}
        self._lines: dict[UUID, list[PurchaseOrderLine]] = defaultdict(list)
        for ordered in PurchaseOrderLine.objects.filter(order__in=self._orders).select_related("product"):
            self._lines[ordered.order_id].append(ordered)
        self._known = Receipt.objects.in_bulk(receipt_ids)
        self._contents: dict[UUID, Counter[UUID]] = defaultdict(Counter)  # what came with each receipt, by product
        for line in ReceiptLine.objects.filter(receipt__in=self._known).select_related("line"):
            self._contents[line.receipt_id][line.line.product_id] += line.quantity
        self._receipts: list[Receipt] = []
        self._receipt_lines: list[ReceiptLine] = []
        self._outgoing: list[Outgoing] = []

    def receive(self, arrival: Arrival) -> Receipt:
        order = self._orders.get(arrival.purchase_order_id)
        if order is None:
            raise NoSuchPurchaseOrder(arrival.purchase_order_id)
        arrived = _by_product(arrival.lines)
        if arrival.id in self._known:
            return self._as_before(arrival, arrived)
        lines = self._lines[order.id]
        outstanding = [_outstanding(line) for line in lines]
        status, falls = receive(Status(order.status), outstanding, arrived, reference=order.reference)
        order.status = status
        receipt = Receipt(id=arrival.id, order=order, by=self._by, at=self._now)
        self._receipts.append(receipt)
        self._known[receipt.id] = receipt
        filled = [(line, quantity) for line, quantity in zip(lines, falls, strict=True) if quantity]
        for line, quantity in filled:
            line.received += quantity
            self._contents[receipt.id][line.product_id] += quantity
            self._receipt_lines.append(ReceiptLine(receipt=receipt, line=line, quantity=quantity))
        self._outgoing.append(Outgoing(message=_goods_received(receipt, filled, complete=status == Status.RECEIVED)))
        return receipt

    def save(self) -> None:
        save_rows(list(self._orders.values()), ["status"])
        save_rows(list({receipt_line.line_id: receipt_line.line for receipt_line in self._receipt_lines}.values()), ["received"])
        Receipt.objects.bulk_create(self._receipts)
        ReceiptLine.objects.bulk_create(self._receipt_lines)
        publish(self._outgoing)

    def _as_before(self, arrival: Arrival, arrived: Mapping[UUID, int] | None) -> Receipt:
        known = self._known[arrival.id]
        other = arrived is not None and arrived != self._contents[arrival.id]
        if known.order_id != arrival.purchase_order_id or other:
            raise ReceiptTaken(arrival.id)
        return known


def _outstanding(line: PurchaseOrderLine) -> Outstanding:
    return Outstanding(product_id=line.product_id, sku=line.product.sku, quantity=line.quantity, received=line.received)


def _by_product(lines: Sequence[ProductQuantity] | None) -> dict[UUID, int] | None:
    return None if lines is None else {line.product_id: line.quantity for line in checked_lines(lines)}


def _goods_received(receipt: Receipt, filled: Sequence[tuple[PurchaseOrderLine, int]], *, complete: bool) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=receipt.order_id,
        receipt_id=receipt.id,
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=quantity, bought_for=line.bought_for) for line, quantity in filled
        ),
        complete=complete,
    )
