"""What can be asked about the feed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orderflow.catalog.services import skus
from orderflow.feed.models import FeedEntry
from orderflow.messaging.messages import Event, message_types


@dataclass(frozen=True, kw_only=True)
class Published:
    """An event and its position. `about`: what it is about, a sales order's id, say. `data`: its payload, with SKUs."""

    position: int
    id: int
    type: str
    about: UUID
    at: datetime
    data: Any


def event_types() -> list[str]:
    return sorted(name for name, message_type in message_types().items() if issubclass(message_type, Event))


def events_after(position: int, *, types: Collection[str] = (), limit: int) -> list[Published]:
    """The next events, of these types; of all where none is named."""
    entries = FeedEntry.objects.filter(position__gt=position).select_related("message").order_by("position")
    if types:
        entries = entries.filter(type__in=types)
    entries = entries[:limit]
    names = skus({UUID(each) for entry in entries for each in _product_ids(entry.message.payload)})
    return [
        Published(
            position=entry.position,
            id=entry.message_id,
            type=entry.type,
            about=entry.message.key,
            at=entry.message.created_at,
            data=_with_skus(entry.message.payload, {str(product_id): sku for product_id, sku in names.items()}),
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


def _with_skus(payload: Any, names: dict[str, str]) -> Any:
    """Our ids of products mean nothing elsewhere."""
    match payload:
        case dict():
            known = {"sku": names[payload["product_id"]]} if payload.get("product_id") in names else {}
            return {**known, **{name: _with_skus(value, names) for name, value in payload.items()}}
        case list():
            return [_with_skus(each, names) for each in payload]
    return payload
