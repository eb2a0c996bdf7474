"""The timeline of a sales order: messages, status changes, movements and decisions, by time."""

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
from orderflow.messaging.queries import MessageRecord
from orderflow.operations.explanation import explain_process
from sales.queries import OrderProcess
from stock.queries import MovementRecord


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. `key` identifies it; `context`: where it happened."""

    key: str
    created_at: datetime
    context: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The history of one sales order.

    `reasons`: what blocks the order now. `is_complete`: the order is closed, and its reservation
    was shipped or released.
    """

    title: str
    entries: tuple[Entry, ...]
    reasons: tuple[str, ...]
    is_complete: bool


def timeline_of(reference_or_id: str) -> Timeline | None:
    """Return the timeline of the sales order with this reference or id."""
    process = sales.queries.find_order_process(reference_or_id)
    if process is None:
        return None
    messages = messaging.messages_for_keys([process.id, *process.linked_purchase_orders])
    movements = stock.queries.movements_of(process.id)
    entries = [
        *_messages(messages, process),
        *_status_changes(process),
        *_movements(movements),
        *_decisions(process),
    ]
    customer = f" for {process.customer}" if process.customer else ""
    return Timeline(
        title=f"Sales order {process.reference}{customer}",
        entries=tuple(sorted(entries, key=lambda entry: entry.created_at)),
        reasons=explain_process(process).reasons,
        is_complete=_is_complete(process, movements),
    )


# -- entries -------------------------------------------------------------------------------------


def _messages(messages: list[MessageRecord], process: OrderProcess) -> Iterator[Entry]:
    sku_by_id = skus(_product_ids(messages))
    references = purchase.queries.references_by_id(process.linked_purchase_orders)
    for each in messages:
        context, name = each.type.split(".")
        text = f"{name} {_details(each.payload, sku_by_id, references)}".rstrip()
        yield Entry(
            key=f"message {each.id}", created_at=each.created_at, context=context, text=text
        )


def _product_ids(messages: list[MessageRecord]) -> set[UUID]:
    return {UUID(line["product_id"]) for each in messages for line in _lines(each.payload)}


def _lines(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*payload.get("lines", ()), *payload.get("shortages", ())]


def _details(
    payload: Mapping[str, Any], sku_by_id: Mapping[UUID, str], references: Mapping[UUID, str]
) -> str:
    """Return what matters to a reader: purchase order, request number, quantities."""
    details = []
    if "purchase_order_id" in payload:
        purchase_order_id = payload["purchase_order_id"]
        details.append(references.get(UUID(purchase_order_id), purchase_order_id))
    if "request_number" in payload:
        details.append(f"request {payload['request_number']}")
    if "countdown" in payload:
        details.append(f"in {payload['countdown']:g} s")
    short = "short of " if "shortages" in payload else ""
    details += [
        f"{short}{line['quantity']:,} × {sku_by_id[UUID(line['product_id'])]}"
        for line in _lines(payload)
    ]
    if "final" in payload:
        details.append("final" if payload["final"] else "not final")
    return ", ".join(details)


def _status_changes(process: OrderProcess) -> Iterator[Entry]:
    for change in process.changes:
        status = change.status.replace("_", " ")
        yield Entry(
            key=f"change {change.id}",
            created_at=change.created_at,
            context="sales",
            text=f"→ {status}{_actor_and_reason(change.actor, change.reason)}",
        )


def _movements(movements: list[MovementRecord]) -> Iterator[Entry]:
    for each in movements:
        yield Entry(
            key=f"movement {each.id}",
            created_at=each.created_at,
            context="stock",
            text=f"{each.movement_type} {abs(each.reserved):,} × {each.sku}",
        )


def _decisions(process: OrderProcess) -> Iterator[Entry]:
    for each in purchase.queries.history_of(process.linked_purchase_orders):
        suffix = _actor_and_reason(each.actor, each.reason)
        yield Entry(
            key=f"decision {each.id}",
            created_at=each.created_at,
            context="purchase",
            text=f"{each.purchase_order_reference} {each.description}{suffix}",
        )


def _actor_and_reason(actor: str, reason: str) -> str:
    return (f", by {actor}" if actor else "") + (f": {reason}" if reason else "")


def _is_complete(process: OrderProcess, movements: list[MovementRecord]) -> bool:
    """Return whether the order is closed and Stock has shipped or released its reservation.

    Goods that are still on order for it are allocated to other orders.
    """
    if process.status == "delivered":
        return any(each.movement_type == "shipped" for each in movements)
    if process.status != "cancelled":
        return False
    queued = messaging.unhandled_for_keys([process.id, *process.linked_purchase_orders])
    return not any(each.status == "pending" for each in queued)
