"""Why a sales order waits: in sentences for people, and as data for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.timezone import localtime

import purchase.queries
import sales.queries
import stock.queries
from orderflow.messaging import queries as messaging
from orderflow.messaging.queries import Pending
from purchase.queries import OnOrder
from sales.queries import OrderProcess
from stock.queries import Promise

MOST_NAMED = 5  # purchase orders that one sentence names

# What is on its way and explains why nothing seems to be on order, by type and consumer; the first that there is counts.
_ON_ITS_WAY = {
    ("purchase.GoodsReceived", "stock"): "it has arrived, and Stock is about to book it",
    ("purchase.CreatePurchaseOrder", "purchase"): "it is just being ordered",
    ("purchase.GoodsReceived", "sales"): "its purchase order was closed, and Stock is about to be asked again",
    ("purchase.PurchaseOrderClosedShort", "sales"): "its purchase order was closed, and Stock is about to be asked again",
    ("purchase.PurchaseOrderCancelled", "sales"): "its purchase order was cancelled, and Stock is about to be asked again",
}


@dataclass(frozen=True, kw_only=True)
class MissingLine:
    """A line of the order that is not held whole. `place_in_line`: 1 is served next; None while Stock has not said no yet."""

    sku: str
    quantity: int
    held: int
    missing: int
    place_in_line: int | None
    on_order: tuple[OnOrder, ...]


@dataclass(frozen=True, kw_only=True)
class WhyItWaits:
    """`reasons`: what it waits for, each in words that go on after "it waits for"; when it has ended, at most a dead letter.

    `letters`: messages about it that failed, are dead, or were discarded.
    """

    sales_order_id: UUID
    reference: str
    state: str
    since: datetime
    overdue: bool
    needs_attention: bool
    sentence: str
    reasons: tuple[str, ...]
    missing: tuple[MissingLine, ...]
    letters: tuple[Pending, ...]


def why_it_waits(name: str) -> WhyItWaits | None:
    """Why the sales order with this reference or id waits. None: there is no such order."""
    process = sales.queries.process_called(name)
    return explained(process) if process else None


def explained(process: OrderProcess) -> WhyItWaits:
    pending = messaging.pending_about([process.id, *process.purchases])
    missing = tuple(_missing(process.id)) if process.state.startswith("awaiting") else ()
    reasons = tuple(_reasons(process, pending, missing))
    what = f"waits for {'; and for '.join(reasons)}" if reasons else f"waits for nothing: it is {process.state}"
    return WhyItWaits(
        sales_order_id=process.id,
        reference=process.reference,
        state=process.state,
        since=process.since,
        overdue=process.overdue,
        needs_attention=process.needs_attention,
        sentence=f"Sales order {process.reference} {what}.{_late(process)}",
        reasons=reasons,
        missing=missing,
        letters=tuple(each for each in pending if each.state != "waiting" or each.attempts),
    )


def _missing(sales_order_id: UUID) -> Iterator[MissingLine]:
    lacking = [promise for promise in stock.queries.promises(sales_order_id) if promise.missing]
    places = stock.queries.places_in_line(sales_order_id)
    on_order = purchase.queries.on_order([promise.product_id for promise in lacking], sales_order_id)
    for promise in lacking:
        yield _missing_line(promise, places, [each for each in on_order if each.product_id == promise.product_id])


def _missing_line(promise: Promise, places: Mapping[UUID, int], on_order: list[OnOrder]) -> MissingLine:
    return MissingLine(
        sku=promise.sku,
        quantity=promise.quantity,
        held=promise.held,
        missing=promise.missing,
        place_in_line=places.get(promise.product_id),
        on_order=tuple(on_order),
    )


# -- in words ---------------------------------------------------------------------------------------------------------------


def _reasons(process: OrderProcess, pending: list[Pending], missing: tuple[MissingLine, ...]) -> Iterator[str]:
    yield from _troubles(pending, has_ended=process.state in ("delivered", "cancelled"))
    lines = [_line_in_words(line, pending) for line in missing]
    match process.state:
        case "awaiting_stock_reservation" if process.needs_attention:
            yield f"a person to try again, change or cancel it: what is missing was bought in vain, {process.times_bought} ×"
            yield from lines
        case "awaiting_stock_reservation":
            yield _stock_in_words(process, pending)
        case "awaiting_goods_received":
            yield from lines or ["Sales to hear that Stock has promised all of it"]
        case "deliverable":
            yield "a person to deliver it"


def _troubles(pending: list[Pending], *, has_ended: bool) -> Iterator[str]:
    for each in pending:
        what = f"{each.type} on its way to {each.consumer}"
        if each.state == "dead":
            yield f"a person to replay or discard dead letter {each.id}, {what}: {each.last_error}"
        elif has_ended:
            continue
        elif each.state == "discarded":
            yield f"nothing that will come: letter {each.id}, {what}, was discarded, and can be replayed. {each.decision}"
        elif each.attempts:
            again = f"{localtime(each.due_at):%H:%M:%S}"
            yield f"{what}, which failed {each.attempts} times, to be tried again at {again}: {each.last_error}"


def _stock_in_words(process: OrderProcess, pending: list[Pending]) -> str:
    on_their_way = [each for each in pending if each.state == "waiting"]
    if any(each.type.startswith("stock.Reservation") for each in on_their_way):
        return "Sales to hear Stock's answer"
    retries = [each.due_at for each in on_their_way if each.type == "sales.RetryReservation"]
    if not retries:
        return f"Stock's answer to request {process.request}"
    return f"Stock to be asked again, at {localtime(max(retries)):%H:%M:%S}, once it has handled what Purchase said before"


def _line_in_words(line: MissingLine, pending: list[Pending]) -> str:
    held = f" ({line.held:,} of {line.quantity:,} are held)" if line.held else ""
    place = {None: "", 1: ", next in line"}.get(line.place_in_line, f", number {line.place_in_line} in line")
    coming = [_on_order_in_words(each) for each in line.on_order[:MOST_NAMED]]
    if len(line.on_order) > MOST_NAMED:
        coming.append(f"{len(line.on_order) - MOST_NAMED} purchase orders more")
    return f"{line.missing:,} × {line.sku}{held}{place}: {' and '.join(coming) or _nothing_on_order_in_words(pending)}"


def _on_order_in_words(coming: OnOrder) -> str:
    whose = "bought for it" if coming.bought_for_it else "bought for nobody in particular"
    late = ", which has passed" if coming.overdue else ""
    day = f"{localtime(coming.expected_at):%Y-%m-%d}"
    return f"{coming.quantity:,} on purchase order {coming.purchase_order}, {whose}, expected {day}{late}"


def _nothing_on_order_in_words(pending: list[Pending]) -> str:
    on_their_way = {(each.type, each.consumer) for each in pending if each.state == "waiting"}
    return next((words for message, words in _ON_ITS_WAY.items() if message in on_their_way), "none of it is on order")


def _late(process: OrderProcess) -> str:
    since = f"{localtime(process.since):%Y-%m-%d %H:%M}"
    return f" It is overdue: {process.state.replace('_', ' ')} since {since}." if process.overdue else ""
