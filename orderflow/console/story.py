"""Everything that happened to one sales order, in order, and what it waits for now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import purchase.queries
import sales.queries
import stock.queries
from orderflow.catalog.services import skus
from orderflow.messaging import queries as messaging
from orderflow.messaging.queries import Pending, Said
from sales.queries import OrderProcess
from stock.queries import Moved


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that happened. `key` tells entries apart, also when their words change; `who`: the context where it happened."""

    key: str
    at: datetime
    who: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Story:
    title: str
    entries: tuple[Entry, ...]
    waits_for: tuple[str, ...]
    has_ended: bool


def story_of(name: str) -> Story | None:
    """The story of the sales order with this reference or id."""
    process = sales.queries.process_called(name)
    if process is None:
        return None
    said = messaging.said_about([process.id, *process.purchases])
    movements = stock.queries.movements_about(process.id)
    entries = [*_messages(said, process), *_states(process), *_movements(movements)]
    return Story(
        title=f"Sales order {process.reference}" + (f" for {process.customer}" if process.customer else ""),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        waits_for=tuple(_waits_for(process)),
        has_ended=process.state == "delivered" and any(moved.kind == "shipped" for moved in movements),
    )


# -- what happened --------------------------------------------------------------------------------------------------------


def _messages(said: list[Said], process: OrderProcess) -> Iterator[Entry]:
    products = skus(_products(said))
    references = purchase.queries.references_of(process.purchases)
    for each in said:
        context, name = each.type.split(".")
        what = f"{name} {_details(each.payload, products, references)}".rstrip()
        yield Entry(key=f"message {each.id}", at=each.at, who=context, what=what)


def _products(said: list[Said]) -> set[UUID]:
    return {UUID(line["product_id"]) for each in said for line in _lines(each.payload)}


def _lines(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*payload.get("lines", ()), *payload.get("missing", ())]


def _details(payload: Mapping[str, Any], products: Mapping[UUID, str], references: Mapping[UUID, str]) -> str:
    """What a person wants to know of a payload: which purchase order, which question, and the quantities."""
    words = []
    if "purchase_order_id" in payload:
        words.append(references.get(UUID(payload["purchase_order_id"]), payload["purchase_order_id"]))
    if "request" in payload:
        words.append(f"request {payload['request']}")
    if "countdown" in payload:
        words.append(f"in {payload['countdown']:g} s")
    missing = "missing " if "missing" in payload else ""
    words += [f"{missing}{line['quantity']:,} × {products[UUID(line['product_id'])]}" for line in _lines(payload)]
    if "complete" in payload:
        words.append("complete" if payload["complete"] else "more to come")
    return ", ".join(words)


def _states(process: OrderProcess) -> Iterator[Entry]:
    for change in process.changes:
        by = f", by {change.by}" if change.by else ""
        yield Entry(key=f"change {change.id}", at=change.at, who="sales", what=f"→ {change.state.replace('_', ' ')}{by}")


def _movements(movements: list[Moved]) -> Iterator[Entry]:
    for moved in movements:
        what = f"{moved.kind} {abs(moved.reserved):,} × {moved.sku}"
        yield Entry(key=f"movement {moved.id}", at=moved.at, who="stock", what=what)


# -- what it waits for ----------------------------------------------------------------------------------------------------


def _waits_for(process: OrderProcess) -> Iterator[str]:
    pending = messaging.pending_about([process.id, *process.purchases])
    yield from _troubles(pending)
    match process.state:
        case "awaiting_stock_reservation":
            yield from _waits_for_stock(process, pending)
        case "awaiting_goods_received":
            yield from _waits_for_goods(process)
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


def _waits_for_stock(process: OrderProcess, pending: list[Pending]) -> Iterator[str]:
    retries = [each for each in pending if each.type == "sales.RetryReservation"]
    if not retries:
        yield f"Stock's answer to request {process.request}"
    for retry in retries:
        yield f"Stock to catch up with the goods received; asked again at {retry.due_at:%H:%M:%S}"


def _waits_for_goods(process: OrderProcess) -> Iterator[str]:
    for line in purchase.queries.lines_of(process.purchases):
        if line.received < line.quantity:
            to_come = line.quantity - line.received
            yield f"purchase order {line.purchase_order}: {to_come:,} of {line.quantity:,} × {line.sku} still to come"
    for promise in stock.queries.promises(process.id):
        if promise.held < promise.quantity:
            yield f"{promise.quantity - promise.held:,} × {promise.sku} to be promised by Stock ({promise.held:,} are)"
