"""What Stock can be told to do, and what it answers.

A reservation's id is the sales order's id, and every message about it has that id as its key. The answers echo `revision` and
`request`, so that whoever asked knows which question is answered.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.messaging.messages import Command, Event


@dataclass(frozen=True, kw_only=True)
class MakeReservation(Command):
    """Promise these quantities, or remember who waits for them. Asked again, it answers again.

    With a higher `revision` the lines are what is wanted now: what is held and not wanted any more goes to those who wait.
    Who waits is served by `priority` (higher first), then by `placed_at`. With `hold_parts` a line that cannot be promised
    whole gets what is there; without, it first gets nothing.
    """

    reservation_id: UUID
    revision: int
    request: int
    lines: tuple[ProductQuantity, ...]
    priority: int
    placed_at: datetime
    hold_parts: bool = False

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReleaseReservation(Command):
    """It is not wanted any more: what it holds goes to those who wait. One that Stock has never heard of will not be made."""

    reservation_id: UUID

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ShipReservation(Command):
    """The goods of an accepted reservation leave the shelf."""

    reservation_id: UUID

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReservationAccepted(Event):
    """Every line is promised whole."""

    reservation_id: UUID
    revision: int
    request: int

    @property
    def key(self) -> UUID:
        return self.reservation_id


@dataclass(frozen=True, kw_only=True)
class ReservationRejected(Event):
    """`missing` is, per line, what was asked for and is not held; never empty. The reservation waits and will be served."""

    reservation_id: UUID
    revision: int
    request: int
    missing: tuple[ProductQuantity, ...]

    @property
    def key(self) -> UUID:
        return self.reservation_id
