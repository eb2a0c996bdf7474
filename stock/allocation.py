"""The allocation rule of Stock. Pure.

Available stock is reserved in the order of requests. Stock that becomes available is allocated to
backorders: first to the reservation that it is pegged to, up to the pegged quantity; then by
priority, placement time and id. The remainder stays available.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

Quantities = dict[UUID, int]  # by product id or reservation id; every quantity is positive


@dataclass(frozen=True, kw_only=True)
class Backorder:
    """The shortage of one reservation line, and what decides its queue position."""

    shortage: int
    priority: int
    placed_at: datetime


def initial_reservation(
    requested: Mapping[UUID, int], available: Mapping[UUID, int], *, allow_partial: bool
) -> Quantities:
    """Return the quantities that a new reservation gets, by product.

    Without `allow_partial`, each line is reserved in full or not at all.
    """
    reserved = {}
    for product_id, quantity in requested.items():
        available_quantity = available.get(product_id, 0)
        if available_quantity >= quantity or (allow_partial and available_quantity > 0):
            reserved[product_id] = min(quantity, available_quantity)
    return reserved


def allocate(
    available: int, backorders: Mapping[UUID, Backorder], pegs: Mapping[UUID, int] | None = None
) -> Quantities:
    """Distribute the available quantity of one product; return the quantity of each reservation.

    `backorders`: by reservation. `pegs`: the pegged part of the available quantity, by
    reservation. A peg may exceed the shortage of its reservation, or the reservation may have no
    shortage: then the excess goes to the other backorders.
    """
    allocated: Quantities = {}
    for reservation_id, pegged in (pegs or {}).items():
        if reservation_id in backorders:
            quantity = min(pegged, backorders[reservation_id].shortage, available)
            available -= _add(allocated, reservation_id, quantity)
    if available:
        for reservation_id, backorder in sorted(backorders.items(), key=_queue_key):
            shortage = backorder.shortage - allocated.get(reservation_id, 0)
            available -= _add(allocated, reservation_id, min(shortage, available))
    return allocated


def _add(allocated: Quantities, reservation_id: UUID, quantity: int) -> int:
    """Allocate the quantity if it is positive; return the allocated quantity."""
    if quantity > 0:
        allocated[reservation_id] = allocated.get(reservation_id, 0) + quantity
    return max(quantity, 0)


def _queue_key(item: tuple[UUID, Backorder]) -> tuple[int, datetime, UUID]:
    reservation_id, backorder = item
    return -backorder.priority, backorder.placed_at, reservation_id
