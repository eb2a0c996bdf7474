"""Factories of stock and of messages to Stock, and what tests read about them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from orderflow.messaging.consuming import drain
from orderflow.messaging.messages import Message
from orderflow.messaging.models import StoredMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import GoodsReceived, PeggedQuantity
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation
from stock.models import Reservation, ReservationLine, StockLevel
from stock.services import Adjustment
from tests.conftest import lines, product

PLACED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def adjustment(sku: str, quantity: int) -> Adjustment:
    return Adjustment(product_id=product(sku), quantity=quantity, reason="counted")


# -- messages ------------------------------------------------------------------------------------


def handle(*messages: Message, batch_size: int | None = None) -> None:
    """Publish these messages and drain Stock, with up to `batch_size` messages in a batch."""
    with transaction.atomic():
        publish([OutgoingMessage(message=message) for message in messages])
    drain("stock", batch=batch_size)


def request(
    reservation_id: UUID,
    *,
    request_number: int = 1,
    revision: int = 1,
    priority: int = 0,
    days_later: int = 0,
    allow_partial: bool = False,
    **quantities: int,
) -> MakeReservation:
    """Return a reservation request; `days_later` says when its order was placed."""
    return MakeReservation(
        reservation_id=reservation_id,
        revision=revision,
        request_number=request_number,
        lines=tuple(lines(**quantities)),
        priority=priority,
        placed_at=PLACED_AT + timedelta(days=days_later),
        allow_partial=allow_partial,
    )


def change(reservation_id: UUID, *, revision: int = 2, **quantities: int) -> MakeReservation:
    """Return a request that replaces the lines."""
    return replace(
        request(reservation_id),
        revision=revision,
        request_number=revision,
        lines=tuple(lines(**quantities)),
    )


def release(reservation_id: UUID) -> ReleaseReservation:
    return ReleaseReservation(reservation_id=reservation_id)


def ship(reservation_id: UUID) -> ShipReservation:
    return ShipReservation(reservation_id=reservation_id)


def goods_received(*, pegged_to: UUID | None = None, **quantities: int) -> GoodsReceived:
    return GoodsReceived(
        purchase_order_id=uuid4(),
        receipt_id=uuid4(),
        lines=tuple(
            PeggedQuantity(product_id=line.product_id, quantity=line.quantity, pegged_to=pegged_to)
            for line in lines(**quantities)
        ),
        final=True,
    )


# -- state ---------------------------------------------------------------------------------------


def replies() -> list[str]:
    """Return the types of Stock's replies, oldest first."""
    return [row.type.removeprefix("stock.") for row in _replies()]


def last_reply() -> dict[str, Any]:
    payload: dict[str, Any] = _replies()[-1].payload
    return payload


def _replies() -> list[StoredMessage]:
    return list(StoredMessage.objects.filter(type__startswith="stock.Reservation").order_by("id"))


def shortages() -> dict[UUID, int]:
    """Return the shortages of the last reply by product."""
    return {UUID(line["product_id"]): line["quantity"] for line in last_reply()["shortages"]}


def status(reservation_id: UUID) -> str:
    return Reservation.objects.get(id=reservation_id).status


def reserved_quantities(reservation_id: UUID) -> dict[str, int]:
    """Return the reserved quantities by SKU."""
    rows = ReservationLine.objects.filter(reservation=reservation_id)
    return dict(rows.values_list("product__sku", "reserved"))


def level(sku: str) -> tuple[int, int]:
    """Return on hand and reserved."""
    row = StockLevel.objects.get(product=product(sku))
    return row.on_hand, row.reserved
