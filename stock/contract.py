"""The commands that Stock handles and the events that it publishes.

The id of a reservation is the id of its sales order, and it is the key of every message here.
Replies repeat `revision` and `request_number` of the request that they answer.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Event


@dataclass(frozen=True, kw_only=True)
class MakeReservation(Command):
    """Reserve these quantities, and backorder the shortages.

    A repeated request is answered again, unless the reservation is closed. A higher `revision`
    replaces the lines; reserved stock that is no longer needed is released.
    Backorders are allocated by `priority` (higher first), then by `placed_at`. Without
    `allow_partial`, the first request reserves each line whole or not at all.
    """

    reservation_id: UUID
    revision: int
    request_number: int
    lines: tuple[ProductQuantity, ...]
    priority: int
    placed_at: datetime
    allow_partial: bool = False

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReleaseReservation(Command):
    """Release the reserved stock.

    An unknown reservation is stored as released, so that a later MakeReservation is ignored.
    """

    reservation_id: UUID

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ShipReservation(Command):
    """Ship the reserved goods of an accepted reservation."""

    reservation_id: UUID

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReservationAccepted(Event):
    """Every line is fully reserved."""

    reservation_id: UUID
    revision: int
    request_number: int

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReservationRejected(Event):
    """At least one line has a shortage: the reservation is backordered.

    `shortages`: the quantity that could not be reserved, by product; never empty.
    """

    reservation_id: UUID
    revision: int
    request_number: int
    shortages: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.reservation_id
