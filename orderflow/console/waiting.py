"""Why a sales order waits: in sentences for people, and as data for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import purchase.queries
import sales.queries
import stock.queries
from orderflow.messaging import queries as messaging
from orderflow.messaging.queries import Pending
from purchase.queries import OnOrder
from sales.queries import OrderProcess
from stock.queries import Promise


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
    """`reasons`: what it waits for, each in words that go on after "it waits for"; none, when it has ended.

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
    late = " It is overdue." if process.overdue else ""
    what = f"waits for {'; and for '.join(reasons)}" if reasons else f"waits for nothing: it is {process.state}"
    return WhyItWaits(
        sales_order_id=process.id,
        reference=process.reference,
        state=process.state,
        since=process.since,
        overdue=process.overdue,
        needs_attention=process.needs_attention,
        sentence=f"Sales order {process.reference} {what}.{late}",
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
    yield from _troubles(pending)
    match process.state:
        case "awaiting_stock_reservation" if process.needs_attention:
            yield f"a person to try again, change or cancel it: what is missing was bought in vain, {process.times_bought} ×"
            yield from (_line_in_words(line) for line in missing)
        case "awaiting_stock_reservation":
            yield _stock_in_words(process, pending)
        case "awaiting_goods_received":
            yield from (_line_in_words(line) for line in missing)
            if not missing:
                yield "Sales to hear that Stock has promised all of it"
        case "deliverable":
            yield "a person to deliver it"


def _troubles(pending: list[Pending]) -> Iterator[str]:
    for each in pending:
        what = f"{each.type} on its way to {each.consumer}"
        if each.state == "dead":
            yield f"a person to replay or discard dead letter {each.id}, {what}: {each.last_error}"
        elif each.state == "discarded":
            yield f"nothing that will come: letter {each.id}, {what}, was discarded, and can be replayed. {each.decision}"
        elif each.attempts:
            yield f"{what}, which failed {each.attempts} times, to be tried again at {each.due_at:%H:%M:%S}: {each.last_error}"


def _stock_in_words(process: OrderProcess, pending: list[Pending]) -> str:
    retries = [each.due_at for each in pending if each.type == "sales.RetryReservation"]
    if not retries:
        return f"Stock's answer to request {process.request}"
    return f"Stock to catch up with the goods received; asked again at {max(retries):%H:%M:%S}"


def _line_in_words(line: MissingLine) -> str:
    held = f" ({line.held:,} of {line.quantity:,} are held)" if line.held else ""
    place = {None: "", 1: ", next in line"}.get(line.place_in_line, f", number {line.place_in_line} in line")
    coming = " and ".join(_on_order_in_words(each) for each in line.on_order) or "none of it is on order yet"
    return f"{line.missing:,} × {line.sku}{held}{place}: {coming}"


def _on_order_in_words(coming: OnOrder) -> str:
    whose = "bought for it" if coming.bought_for_it else "bought for nobody in particular"
    late = ", which has passed" if coming.overdue else ""
    return f"{coming.quantity:,} on purchase order {coming.purchase_order}, {whose}, expected {coming.expected_at:%Y-%m-%d}{late}"
