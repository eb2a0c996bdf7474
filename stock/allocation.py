"""Stock's allocation rule, as pure functions of quantities.

Available stock is reserved in the order of requests. Stock that arrives is allocated to
backorders: first to the reservation that it is pegged to, up to the pegged quantity; then by
priority, placement time and id. The remainder becomes available.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

Quantities = dict[UUID, int]  # by product or by reservation; every quantity is positive


@dataclass(frozen=True, kw_only=True)
class Backorder:
    """The shortage of one reservation line, and what decides its queue position."""

    shortage: int
    priority: int
    placed_at: datetime


def initial_reservation(
    requested: Mapping[UUID, int], available: Mapping[UUID, int], *, allow_partial: bool
) -> Quantities:
    """Return what a new reservation gets, by product.

    Each line is reserved whole or not at all, or in part with `allow_partial`.
    """
    reserved = {}
    for product_id, quantity in requested.items():
        on_offer = available.get(product_id, 0)
        if on_offer >= quantity or (allow_partial and on_offer > 0):
            reserved[product_id] = min(quantity, on_offer)
    return reserved


def allocate(
    available: int, backorders: Mapping[UUID, Backorder], pegs: Mapping[UUID, int] | None = None
) -> Quantities:
    """Distribute the available quantity of one product; return what each reservation gets.

    `pegs` are the pegged quantities of the increase, by reservation. A peg may exceed the
    shortage, or name a reservation without one: the excess goes to the other backorders.
    """
    allocated: Quantities = {}
    for reservation_id, pegged in (pegs or {}).items():
        if reservation_id in backorders:
            share = min(pegged, backorders[reservation_id].shortage, available)
            available -= _add(allocated, reservation_id, share)
    if available:
        for reservation_id, backorder in sorted(backorders.items(), key=_queue_key):
            shortage = backorder.shortage - allocated.get(reservation_id, 0)
            available -= _add(allocated, reservation_id, min(shortage, available))
    return allocated


def _add(allocated: Quantities, reservation_id: UUID, quantity: int) -> int:
    if quantity > 0:
        allocated[reservation_id] = allocated.get(reservation_id, 0) + quantity
    return max(quantity, 0)


def _queue_key(item: tuple[UUID, Backorder]) -> tuple[int, datetime, UUID]:
    reservation_id, backorder = item
    return -backorder.priority, backorder.placed_at, reservation_id
