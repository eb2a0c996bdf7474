"""Stock's rule, as pure functions of quantities.

What lies on the shelf is first come, first served. What arrives goes to those who wait: first to the reservation it was bought
for, up to the peg; then by priority and by when the sales order was placed (ties by id); what is left lies on the shelf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

Quantities = dict[UUID, int]  # by product, or by reservation; none is zero or less


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A reservation that lacks `missing` of a product, and what decides its place in line."""

    missing: int
    priority: int
    placed_at: datetime


def first_promise(wanted: Mapping[UUID, int], available: Mapping[UUID, int], *, hold_parts: bool) -> Quantities:
    """What a new reservation gets from the shelf, by product: each line whole or, unless parts are to be held, nothing."""
    promise = {}
    for product, quantity in wanted.items():
        there = available.get(product, 0)
        if there >= quantity or (hold_parts and there > 0):
            promise[product] = min(quantity, there)
    return promise


def allocate(available: int, waits: Mapping[UUID, Wait], pegs: Mapping[UUID, int] | None = None) -> Quantities:
    """How the available quantity of one product is dealt out after an increase, by reservation.

    `pegs` says how much of the increase was bought for which reservation. More may be pegged than a reservation still lacks,
    or to one that no longer waits: that serves the others.
    """
    grants: Quantities = {}
    for reservation, pegged in (pegs or {}).items():
        if reservation in waits:
            available -= _grant(grants, reservation, min(pegged, waits[reservation].missing, available))
    if available:
        for reservation, wait in sorted(waits.items(), key=_place_in_line):
            available -= _grant(grants, reservation, min(wait.missing - grants.get(reservation, 0), available))
    return grants


def _grant(grants: Quantities, reservation: UUID, quantity: int) -> int:
    if quantity > 0:
        grants[reservation] = grants.get(reservation, 0) + quantity
    return max(quantity, 0)


def _place_in_line(waiting: tuple[UUID, Wait]) -> tuple[int, datetime, UUID]:
    reservation, wait = waiting
    return -wait.priority, wait.placed_at, reservation
