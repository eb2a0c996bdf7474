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
from orderflow.console.waiting import explained
from orderflow.messaging import queries as messaging
from orderflow.messaging.queries import Said
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
    entries = [*_messages(said, process), *_states(process), *_movements(movements), *_decisions(process)]
    return Story(
        title=f"Sales order {process.reference}" + (f" for {process.customer}" if process.customer else ""),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        waits_for=explained(process).reasons,
        has_ended=_has_ended(process, movements),
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
        what = f"→ {change.state.replace('_', ' ')}{_who_and_why(change.by, change.reason)}"
        yield Entry(key=f"change {change.id}", at=change.at, who="sales", what=what)


def _movements(movements: list[Moved]) -> Iterator[Entry]:
    for moved in movements:
        what = f"{moved.kind} {abs(moved.reserved):,} × {moved.sku}"
        yield Entry(key=f"movement {moved.id}", at=moved.at, who="stock", what=what)


def _decisions(process: OrderProcess) -> Iterator[Entry]:
    for each in purchase.queries.decisions_about(process.purchases):
        what = f"{each.purchase_order} {each.what}{_who_and_why(each.by, each.reason)}"
        yield Entry(key=f"decision {each.id}", at=each.at, who="purchase", what=what)


def _who_and_why(by: str, reason: str) -> str:
    return (f", by {by}" if by else "") + (f": {reason}" if reason else "")


def _has_ended(process: OrderProcess, movements: list[Moved]) -> bool:
    """Nothing more will happen, in Stock either. What is still on order for it comes for others."""
    if process.state == "delivered":
        return any(moved.kind == "shipped" for moved in movements)
    if process.state != "cancelled":
        return False
    pending = messaging.pending_about([process.id, *process.purchases])
    return not any(each.state == "waiting" for each in pending)
