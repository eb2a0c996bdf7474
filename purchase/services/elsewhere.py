"""Purchase when it is kept by another system: what is asked of it there, and what it says has arrived.

Each purchase order is known here as well, so that everybody sees what is on order; but only the other system's word changes it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from orderflow.api.answers import problem_code
from orderflow.catalog.quantities import NoLines, ProductQuantity, checked_lines
from orderflow.catalog.services import skus
from orderflow.database import once_more_if_taken
from orderflow.messaging.messages import Received, TryLater, UnexpectedMessage
from orderflow.refusals import Conflict, Refused
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder
from purchase.models import STILL_TO_COME, PurchaseOrder, Receipt, RemoteReceipt, RemoteReceiptLine
from purchase.receiving import NotOnTheOrder, Status
from purchase.services import NewPurchaseOrder, carry_out, create_purchase_orders
from purchase.services.work import Arrival, NoSuchPurchaseOrder, PurchaseOrderEnded, ReceiptTaken, Work

logger = logging.getLogger(__name__)

TIMEOUTS = (3.05, 15)  # seconds to connect, and to wait for an answer: together far less than the kernel's lease
UNKNOWN, TOO_LATE = "no_such_purchase_order", "purchase_order_cannot_be_cancelled"  # the codes of problems there
NOT_NEEDED = "Whoever had it ordered does not need it any more."


class RefusedElsewhere(UnexpectedMessage):
    """The other system will not do it, however often it is asked: a person has to look, and can replay the letter then."""


class KeptHere(Conflict):
    """The purchase order is received here, not told of by another system."""

    code = "kept_here"

    def __init__(self, order: PurchaseOrder) -> None:
        super().__init__(f"Purchase order {order} is kept here: receive it under /api/purchase/orders/{order.id}/receive/.")


class RemoteReceiptTaken(Conflict):
    """That number of that purchase order was told before, with another content."""

    code = "remote_receipt_taken"

    def __init__(self, order: PurchaseOrder, number: int) -> None:
        super().__init__(f"Number {number} of purchase order {order} was told before, otherwise. Nothing was received.")


@dataclass(frozen=True, kw_only=True)
class RemoteReport:
    """What another system says has arrived of a purchase order. `number`: 1 for the first; `complete`: nothing more will come."""

    purchase_order_id: UUID
    number: int
    id: UUID
    lines: Sequence[ProductQuantity]
    complete: bool


def take_elsewhere(batch: Sequence[Received]) -> None:
    """Purchase as a consumer that works outside the database: every command may be carried out twice, to the same effect.

    The purchase order is known here before it is there, so that nothing is ever told of one that is not known. Raises
    `TryLater` while the other system cannot be reached, or does not know us; `RefusedElsewhere`.
    """
    for received in batch:
        match received.message:
            case CreatePurchaseOrder() as command if not _is_kept_here(command.purchase_order_id):
                _order_there(command)
            case CancelPurchaseOrder() as command if not _is_kept_here(command.purchase_order_id):
                refusal = _ask(f"orders/{command.purchase_order_id}/cancel/", {"reason": NOT_NEEDED}, also=(UNKNOWN, TOO_LATE))
                if refusal != TOO_LATE:  # else a part of it has arrived, or it has ended: we are told of that
                    _take_here(received)
            case _:
                _take_here(received)


def check_kept_elsewhere(purchase_order_id: UUID) -> None:
    """Is it one of which another system may tell us? Raises `NoSuchPurchaseOrder`, `KeptHere`."""
    _kept_elsewhere(PurchaseOrder.objects.all(), purchase_order_id)


@once_more_if_taken
def take_remote_receipt(report: RemoteReport, *, by: str) -> RemoteReceipt:
    """Book what another system says has arrived, once all that came before it is booked; until then it is parked.

    The same number with the same content counts once. Locks the purchase order. Raises `NoSuchPurchaseOrder`, `KeptHere`,
    `RemoteReceiptTaken`, `PurchaseOrderEnded`, `ReceiptTaken`, `NoLines`, `QuantityOutOfRange`, `NotOnTheOrder`, and
    `MoreThanOrdered` once its turn has come.
    """
    lines = checked_lines(report.lines) if report.lines else ()
    if not lines and not report.complete:
        raise NoLines()
    order = _kept_elsewhere(PurchaseOrder.objects.locked(), report.purchase_order_id)
    known = order.remote_receipts.filter(number=report.number).first()
    if known is None:
        _check(order, report, lines)
        _remember(order, report, lines, by)
        _book_what_can_be(order, report.number, by)
    elif (known.receipt_id, known.complete, _lines_of(known)) != (report.id, report.complete, set(lines)):
        raise RemoteReceiptTaken(order, report.number)
    return order.remote_receipts.prefetch_related("lines__product").get(number=report.number)


# -- asking -----------------------------------------------------------------------------------------------------------------


def _is_kept_here(purchase_order_id: UUID) -> bool:
    """It was ordered before Purchase moved out."""
    return PurchaseOrder.objects.filter(id=purchase_order_id, elsewhere=False).exists()


def _order_there(command: CreatePurchaseOrder) -> None:
    new = NewPurchaseOrder(id=command.purchase_order_id, lines=command.lines, elsewhere=True)
    [order] = create_purchase_orders([new])
    if order.status != Status.CANCELLED:  # else it was given up before it came: nobody wants it there either
        _ask("orders/", _as_json(command))


@transaction.atomic
def _take_here(received: Received) -> None:
    carry_out([received])


def _as_json(command: CreatePurchaseOrder) -> dict[str, Any]:
    quantities = checked_lines(ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in command.lines)
    names = skus(line.product_id for line in quantities)
    lines = [{"sku": names[line.product_id], "quantity": line.quantity} for line in quantities]
    return {"id": str(command.purchase_order_id), "lines": lines}


def _ask(path: str, body: Mapping[str, Any], *, also: Collection[str] = ()) -> str:
    """POST to the other system. Returns "" where it did what was asked, or the code of its refusal, if that is one of `also`."""
    address = f"{settings.ORDERFLOW_PURCHASE_URL.rstrip('/')}/api/purchase/{path}"
    credentials = {"Authorization": f"Token {settings.ORDERFLOW_PURCHASE_TOKEN}"}
    try:
        answer = requests.post(address, json=body, headers=credentials, timeout=TIMEOUTS, allow_redirects=False)
    except requests.RequestException as error:
        raise TryLater(f"{address} cannot be reached: {error}") from error
    if 200 <= answer.status_code < 300:
        return ""
    code = problem_code(answer)
    if code in also:
        return code
    said = f"{address} answered {answer.status_code}: {answer.text[:500]}"
    if answer.status_code in (400, 409, 422):
        raise RefusedElsewhere(said)
    raise TryLater(said)  # it is ill, or busy, or is not there yet, or our token is not right: that can be mended


# -- being told -------------------------------------------------------------------------------------------------------------


def _remember(order: PurchaseOrder, report: RemoteReport, lines: Sequence[ProductQuantity], by: str) -> None:
    told = RemoteReceipt.objects.create(
        order=order, number=report.number, receipt_id=report.id, complete=report.complete, by=by, at=timezone.now()
    )
    RemoteReceiptLine.objects.bulk_create(
        RemoteReceiptLine(remote_receipt=told, product_id=line.product_id, quantity=line.quantity) for line in lines
    )


def _kept_elsewhere(orders: QuerySet[PurchaseOrder], purchase_order_id: UUID) -> PurchaseOrder:
    order = orders.filter(id=purchase_order_id).first()
    if order is None:
        raise NoSuchPurchaseOrder(purchase_order_id)
    if not order.elsewhere:
        raise KeptHere(order)
    return order


def _check(order: PurchaseOrder, report: RemoteReport, lines: Sequence[ProductQuantity]) -> None:
    """What could never be booked is not parked either: it would stand in the way of what comes before it."""
    if not lines:
        return
    if order.status not in STILL_TO_COME:
        raise PurchaseOrderEnded(order)
    ordered = set(order.lines.values_list("product_id", flat=True))
    for line in lines:
        if line.product_id not in ordered:
            raise NotOnTheOrder(order.reference, line.product_id)
    told = RemoteReceipt.objects.filter(receipt_id=report.id, lines__isnull=False)
    if told.exists() or Receipt.objects.filter(id=report.id).exists():
        raise ReceiptTaken(report.id)


def _book_what_can_be(order: PurchaseOrder, number: int, by: str) -> None:
    """Book number by number, as far as there is no gap. What was parked and cannot be booked stays so; the log says why."""
    parked = order.remote_receipts.filter(booked=False).prefetch_related("lines").order_by("number")
    due = list(_without_a_gap(parked, after=order.receipt_count))
    if number not in [told.number for told in due]:
        return
    for told in due:
        try:
            _book(order, told, by)
        except Refused as refusal:
            if told.number == number:
                raise
            logger.error("%s stays parked: %s", told, refusal)
            return


@transaction.atomic
def _book(order: PurchaseOrder, told: RemoteReceipt, by: str) -> None:
    work = Work([order], receipts=[told.receipt_id], by=by)
    arrival = Arrival(purchase_order_id=order.id, id=told.receipt_id, lines=list(_lines_of(told)))
    work.receive_as_told(arrival, complete=told.complete)
    work.save()
    told.booked = True
    told.save(update_fields=["booked"])


def _without_a_gap(parked: Collection[RemoteReceipt], *, after: int) -> Iterator[RemoteReceipt]:
    for number, told in enumerate(parked, after + 1):
        if told.number != number:
            return
        yield told


def _lines_of(told: RemoteReceipt) -> set[ProductQuantity]:
    return {ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in told.lines.all()}
