"""Read the event feed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orderflow.catalog.services import skus
from orderflow.event_feed.models import FeedEntry
from orderflow.messaging.messages import Event, message_types


@dataclass(frozen=True, kw_only=True)
class FeedEvent:
    """An event and its position.

    `subject`: id of the sales order or purchase order. `data`: the payload, with SKUs added.
    """

    position: int
    id: int
    type: str
    subject: UUID
    created_at: datetime
    data: Any


def event_types() -> list[str]:
    types = message_types().items()
    return sorted(name for name, message_type in types if issubclass(message_type, Event))


def events_after(position: int, *, types: Collection[str] = (), limit: int) -> list[FeedEvent]:
    """Return the next events after a position, of these types or of all types."""
    rows = FeedEntry.objects.filter(position__gt=position)
    if types:
        rows = rows.filter(type__in=types)
    entries = list(rows.select_related("message").order_by("position")[:limit])
    product_ids = {UUID(each) for entry in entries for each in _product_ids(entry.message.payload)}
    sku_by_id = {str(product_id): sku for product_id, sku in skus(product_ids).items()}
    return [
        FeedEvent(
            position=entry.position,
            id=entry.message_id,
            type=entry.type,
            subject=entry.message.key,
            created_at=entry.message.created_at,
            data=_with_skus(entry.message.payload, sku_by_id),
        )
        for entry in entries
    ]


def _product_ids(payload: Any) -> Iterator[str]:
    match payload:
        case dict():
            for name, value in payload.items():
                yield from [value] if name == "product_id" else _product_ids(value)
        case list():
            for each in payload:
                yield from _product_ids(each)


def _with_skus(payload: Any, sku_by_id: Mapping[str, str]) -> Any:
    """Add the SKU to each product id: the ids mean nothing to other systems."""
    match payload:
        case dict():
            sku = sku_by_id.get(payload.get("product_id", ""))
            added = {"sku": sku} if sku else {}
            rest = {name: _with_skus(value, sku_by_id) for name, value in payload.items()}
            return {**added, **rest}
        case list():
            return [_with_skus(each, sku_by_id) for each in payload]
    return payload
