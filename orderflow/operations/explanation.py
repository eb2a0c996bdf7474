"""The explanation of a sales order: why it is not closed, as text and as data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.timezone import localtime

import purchase.queries
import sales.queries
import stock.queries
from orderflow.messaging import queries as messaging
from orderflow.messaging.queries import UnhandledMessage
from orderflow.operations.management.texts import pluralize
from purchase.queries import OnOrderQuantity
from sales.queries import OrderProcess
from stock.queries import ReservationLineSummary

MAX_PURCHASE_ORDERS_SHOWN = 5  # in one reason

# Pending messages that explain why nothing is on order, by type and consumer; the first counts.
_PENDING_TEXTS = {
    ("purchase.GoodsReceived", "stock"): "the goods are received, and Stock will record them",
    ("purchase.CreatePurchaseOrder", "purchase"): "the purchase order is being created",
    (
        "purchase.GoodsReceived",
        "sales",
    ): "its purchase order is received, and the reservation will be requested again",
    (
        "purchase.PurchaseOrderClosedShort",
        "sales",
    ): "its purchase order is closed short, and the reservation will be requested again",
    (
        "purchase.PurchaseOrderCancelled",
        "sales",
    ): "its purchase order is cancelled, and the reservation will be requested again",
}


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """A line that is not fully reserved. `queue_position`: None until Stock has replied."""

    sku: str
    quantity: int
    reserved: int
    shortage: int
    queue_position: int | None
    on_order: tuple[OnOrderQuantity, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """`reasons`: what blocks the order; for a closed order at most dead letters.

    `failed_messages`: messages about it that failed, are dead letters, or were discarded.
    """

    sales_order_id: UUID
    reference: str
    status: str
    status_changed_at: datetime
    overdue: bool
    needs_attention: bool
    summary: str
    reasons: tuple[str, ...]
    shortages: tuple[Shortage, ...]
    failed_messages: tuple[UnhandledMessage, ...]


def explain(reference_or_id: str) -> Explanation | None:
    """Explain the sales order with this reference or id."""
    process = sales.queries.find_order_process(reference_or_id)
    return explain_process(process) if process else None


def explain_process(process: OrderProcess) -> Explanation:
    queued = messaging.unhandled_for_keys([process.id, *process.linked_purchase_orders])
    awaiting = process.status.startswith("awaiting")
    shortages = tuple(_shortages(process.id)) if awaiting else ()
    reasons = tuple(_reasons(process, queued, shortages))
    return Explanation(
        sales_order_id=process.id,
        reference=process.reference,
        status=process.status,
        status_changed_at=process.status_changed_at,
        overdue=process.overdue,
        needs_attention=process.needs_attention,
        summary=_summary(process, reasons),
        reasons=reasons,
        shortages=shortages,
        failed_messages=tuple(
            each for each in queued if each.status != "pending" or each.attempts
        ),
    )


def _shortages(sales_order_id: UUID) -> Iterator[Shortage]:
    lines = [line for line in stock.queries.reservation_lines(sales_order_id) if line.shortage]
    positions = stock.queries.queue_positions(sales_order_id)
    product_ids = [line.product_id for line in lines]
    on_order = purchase.queries.quantities_on_order(product_ids, sales_order_id)
    for line in lines:
        of_product = tuple(each for each in on_order if each.product_id == line.product_id)
        yield _shortage(line, positions, of_product)


def _shortage(
    line: ReservationLineSummary,
    positions: Mapping[UUID, int],
    on_order: tuple[OnOrderQuantity, ...],
) -> Shortage:
    return Shortage(
        sku=line.sku,
        quantity=line.quantity,
        reserved=line.reserved,
        shortage=line.shortage,
        queue_position=positions.get(line.product_id),
        on_order=on_order,
    )


# -- texts ---------------------------------------------------------------------------------------


def _summary(process: OrderProcess, reasons: tuple[str, ...]) -> str:
    status = process.status.replace("_", " ")
    text = f"Sales order {process.reference} is {status}"
    text += f": {'; '.join(reasons)}." if reasons else "."
    if process.overdue:
        since = f"{localtime(process.status_changed_at):%Y-%m-%d %H:%M}"
        text += f" It is overdue; its status has not changed since {since}."
    return text


def _reasons(
    process: OrderProcess, queued: list[UnhandledMessage], shortages: tuple[Shortage, ...]
) -> Iterator[str]:
    yield from _failures(queued, closed=process.status in ("delivered", "cancelled"))
    lines = [_shortage_text(each, queued) for each in shortages]
    match process.status:
        case "awaiting_stock_reservation" if process.needs_attention:
            yield (
                f"{pluralize(process.purchase_count, 'purchase order')} did not cover the "
                "shortage, so a user must retry, change or cancel the order"
            )
            yield from lines
        case "awaiting_stock_reservation":
            yield _stock_text(process, queued)
        case "awaiting_goods_received":
            yield from lines or ["Stock has reserved every line, and Sales will handle the reply"]
        case "deliverable":
            yield "a user must deliver it"


def _failures(queued: list[UnhandledMessage], *, closed: bool) -> Iterator[str]:
    for each in queued:
        message = f"{each.type} to {each.consumer}"
        if each.status == "dead_letter":
            error = each.last_error
            yield (
                f"dead letter {each.message_id} ({message}) must be replayed or discarded: {error}"
            )
        elif closed:
            continue
        elif each.status == "discarded":
            yield (
                f"message {each.message_id} ({message}) was discarded and can be replayed: "
                f"{each.resolution_log}"
            )
        elif each.attempts:
            due = f"{localtime(each.due_at):%H:%M:%S}"
            yield (
                f"message {each.message_id} ({message}) failed "
                f"{pluralize(each.attempts, 'time')}, next attempt at {due}: {each.last_error}"
            )


def _stock_text(process: OrderProcess, queued: list[UnhandledMessage]) -> str:
    pending = [each for each in queued if each.status == "pending"]
    if any(each.type.startswith("stock.Reservation") for each in pending):
        return "Stock has replied, and Sales will handle the reply"
    retries = [each.due_at for each in pending if each.type == "sales.RetryReservation"]
    if not retries:
        return f"Stock has not replied to reservation request {process.request_number}"
    due = f"{localtime(max(retries)):%H:%M:%S}"
    return f"the reservation is requested again at {due}, if Stock has caught up by then"


def _shortage_text(line: Shortage, queued: list[UnhandledMessage]) -> str:
    text = f"{line.shortage:,} × {line.sku} short"
    if line.reserved:
        text += f" ({line.reserved:,} of {line.quantity:,} reserved)"
    if line.queue_position:
        text += f", queue position {line.queue_position}"
    on_order = [_on_order_text(each) for each in line.on_order[:MAX_PURCHASE_ORDERS_SHOWN]]
    hidden = len(line.on_order) - MAX_PURCHASE_ORDERS_SHOWN
    if hidden > 0:
        on_order.append(pluralize(hidden, "more purchase order"))
    return f"{text}: {' and '.join(on_order) or _not_on_order_text(queued)}"


def _on_order_text(each: OnOrderQuantity) -> str:
    pegged = "pegged to this order" if each.pegged_quantity else "not pegged"
    date = f"{localtime(each.expected_at):%Y-%m-%d}"
    overdue = ", overdue" if each.overdue else ""
    return (
        f"{each.quantity:,} on order with {each.purchase_order_reference} ({pegged}, "
        f"expected {date}{overdue})"
    )


def _not_on_order_text(queued: list[UnhandledMessage]) -> str:
    pending = {(each.type, each.consumer) for each in queued if each.status == "pending"}
    texts = (text for message, text in _PENDING_TEXTS.items() if message in pending)
    return next(texts, "not on order")
