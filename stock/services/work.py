"""The stock levels and reservations that one transaction changes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TypedDict
from uuid import UUID

from orderflow.core.database import upsert
from orderflow.core.quantities import ProductQuantity
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from purchase.contract import GoodsReceived, ReverseReceipt
from stock.allocation import Backorder, allocate, initial_reservation
from stock.contract import MakeReservation, ReservationAccepted, ReservationRejected
from stock.models import Reservation, ReservationLine, ReservationStatus
from stock.services.ledger import Adjustment, Ledger, Reversal

CLOSED_STATUSES = (ReservationStatus.SHIPPED, ReservationStatus.RELEASED)

Pegs = dict[UUID, Counter[UUID]]  # pegged quantities by product id, then by reservation id


def summarize_receipts(receipts: Iterable[GoodsReceived]) -> tuple[Counter[UUID], Pegs]:
    """Return the received quantities by product id, and their pegs."""
    quantities: Counter[UUID] = Counter()
    pegs: Pegs = defaultdict(Counter)
    for receipt in receipts:
        for line in receipt.lines:
            quantities[line.product_id] += line.quantity
            if line.pegged_to:
                pegs[line.product_id][line.pegged_to] += line.quantity
    return quantities, pegs


class Work:
    """The stock levels and reservations of one transaction.

    They are locked once, changed in memory, and saved once. `products`: ids of
    the products whose stock levels may change. `reservations`: ids of the reservations that the
    messages concern. `increases`: the maximum quantity that can become available, by product.
    `pegs`: the pegged part of `increases`.

    Two transactions that add stock of two products can together complete one reservation. So the
    reservations are locked before their lines are read: the second transaction sees that both
    lines are fully reserved, and accepts the reservation.
    Locks: the stock levels, by product id; then the reservations, by id.
    """

    def __init__(
        self,
        *,
        products: Collection[UUID],
        reservations: Collection[UUID] = (),
        increases: Mapping[UUID, int],
        pegs: Pegs | None = None,
        actor: str = "",
    ) -> None:
        pegs = pegs or {}
        self.ledger = Ledger(products, actor=actor)
        pegged = {
            reservation_id for by_reservation in pegs.values() for reservation_id in by_reservation
        }
        allocatable = self._allocatable(increases, pegs, pegged - set(reservations))
        affected = pegged | set(reservations)
        if allocatable:
            lines = ReservationLine.objects.backordered()
            affected |= set(lines.reservation_ids_to_allocate(allocatable))
        self._reservations = {
            row.id: row for row in Reservation.objects.filter(id__in=affected).locked()
        }
        self._lines: dict[UUID, dict[UUID, ReservationLine]] = defaultdict(dict)
        for line in ReservationLine.objects.filter(reservation__in=self._reservations):
            self._lines[line.reservation_id][line.product_id] = line
        self._backorders: dict[UUID, dict[UUID, Backorder]] = defaultdict(dict)
        for reservation in self._reservations.values():
            self._track_backorders(reservation)
        self._changed: dict[UUID, Reservation] = {}
        self._changed_lines: dict[tuple[UUID, UUID], ReservationLine] = {}
        self._dropped_lines: list[int] = []
        self._outgoing: list[OutgoingMessage] = []

    def reserve(self, request: MakeReservation) -> None:
        """Make or change a reservation and publish the reply.

        A request with an older revision, or for a closed reservation, is ignored.
        """
        reservation = self._reservations.get(request.reservation_id)
        if reservation is None:
            reservation = self._add(request)
            quantities = {line.product_id: line.quantity for line in request.lines}
            available = {
                product_id: self.ledger.available(product_id) for product_id in quantities
            }
            reserved = initial_reservation(
                quantities, available, allow_partial=request.allow_partial
            )
        elif reservation.status in CLOSED_STATUSES or request.revision < reservation.revision:
            # Closed: no reply is needed. Older revision: a newer request was handled before.
            return
        else:
            if request.revision > reservation.revision:
                self._change(reservation, request)
            backordered = reservation.status == ReservationStatus.BACKORDERED
            reserved = self._allocation_for(reservation) if backordered else {}
        reservation.request_number = request.request_number
        self._changed[reservation.id] = reservation
        for product_id, quantity in reserved.items():
            self._reserve(reservation, product_id, quantity)
        if not self._accept_if_fully_reserved(reservation):
            shortages = self._shortages(reservation)
            self._publish(ReservationRejected(**_request_ids(reservation), shortages=shortages))

    def release(self, reservation_id: UUID) -> None:
        """Release a reservation and allocate its stock to backorders.

        Raises: `UnexpectedMessage` if it is shipped.
        """
        reservation = self._reservations.get(reservation_id)
        if reservation is None:
            # Its MakeReservation may be handled later; the released row makes Stock ignore it.
            reservation = Reservation(
                id=reservation_id,
                revision=0,
                request_number=0,
                priority=0,
                placed_at=self.ledger.now,
            )
        elif reservation.status == ReservationStatus.SHIPPED:
            raise UnexpectedMessage(
                f"Reservation {reservation_id} cannot be released: its status is shipped."
            )
        elif reservation.status == ReservationStatus.RELEASED:
            return
        reservation.status = ReservationStatus.RELEASED
        self._reservations[reservation_id] = self._changed[reservation_id] = reservation
        lines = self._lines[reservation_id].values()
        for line in lines:
            self._backorders[line.product_id].pop(reservation_id, None)
        released = [
            line.product_id for line in lines if self._release(reservation, line, line.reserved)
        ]
        for product_id in released:
            self._allocate_available(product_id, {})

    def receive(self, receipt: GoodsReceived) -> None:
        """Record a receipt and allocate it to backorders."""
        quantities, pegs = summarize_receipts([receipt])
        for product_id, quantity in quantities.items():
            self.ledger.receive(product_id, quantity, receipt_id=receipt.receipt_id)
            self._allocate_available(product_id, pegs.get(product_id, {}))

    def adjust(self, adjustment: Adjustment) -> None:
        """Record an adjustment and allocate added stock to backorders.

        Raises: `InsufficientStock`, `ReasonTooLong`.
        """
        self.ledger.adjust(adjustment)
        if adjustment.quantity > 0:
            self._allocate_available(adjustment.product_id, {})

    def reverse(self, reversal: Reversal) -> None:
        """Record a receipt reversal and report it to Purchase.

        Raises: `InsufficientStock`, `ReasonTooLong`.
        """
        self.ledger.reverse(reversal)
        self._publish(
            ReverseReceipt(
                reversal_id=reversal.id,
                receipt_id=reversal.receipt_id,
                line=ProductQuantity(product_id=reversal.product_id, quantity=reversal.quantity),
                reason=reversal.reason,
                actor=self.ledger.actor,
            )
        )

    def ship(self, reservation_id: UUID) -> None:
        """Ship a reservation. Raises: `UnexpectedMessage` if it is not accepted."""
        reservation = self._reservations.get(reservation_id)
        if reservation and reservation.status == ReservationStatus.SHIPPED:
            return
        if reservation is None or reservation.status != ReservationStatus.ACCEPTED:
            status = reservation.status if reservation else "unknown"
            raise UnexpectedMessage(
                f"Reservation {reservation_id} cannot be shipped: its status is {status}. "
                "Only accepted reservations can be shipped."
            )
        for line in self._lines[reservation_id].values():
            self.ledger.ship(line.product_id, line.reserved, reservation_id=reservation_id)
        reservation.status = ReservationStatus.SHIPPED
        self._changed[reservation_id] = reservation

    def save(self) -> None:
        """Write the changes and publish the messages."""
        self.ledger.save()
        upsert(list(self._changed.values()), ["status", "revision", "request_number"])
        if self._dropped_lines:
            ReservationLine.objects.filter(pk__in=self._dropped_lines).delete()
        changed = self._changed_lines.values()
        ReservationLine.objects.bulk_create([line for line in changed if line.pk is None])
        upsert([line for line in changed if line.pk is not None], ["quantity", "reserved"])
        publish(self._outgoing)

    def _allocatable(
        self, increases: Mapping[UUID, int], pegs: Pegs, only_pegged: Collection[UUID]
    ) -> dict[UUID, int]:
        """Return the quantity that can become available, by product.

        Products whose pegs use all of it are left out.

        `only_pegged`: reservations that are pegged, but not named by a message. Their lines can be
        read before the reservations are locked: the reserved quantity of a product changes only
        under the lock of its stock level, which this transaction holds.

        A reservation that this batch releases leaves the backorder queue. `increases` includes at
        least its whole quantity, so the quantity suffices for the reservations behind it.
        """
        pegged_shortage: Counter[UUID] = Counter()
        rows = ReservationLine.objects.backordered()
        for line in rows.filter(reservation__in=only_pegged, product__in=pegs):
            pegged = pegs[line.product_id][line.reservation_id]
            pegged_shortage[line.product_id] += min(line.shortage, pegged)
        available = {
            product_id: self.ledger.available(product_id) + quantity
            for product_id, quantity in increases.items()
        }
        return {
            product_id: quantity
            for product_id, quantity in available.items()
            if quantity > pegged_shortage[product_id]
        }

    def _add(self, request: MakeReservation) -> Reservation:
        reservation = Reservation(
            id=request.reservation_id,
            revision=request.revision,
            request_number=request.request_number,
            priority=request.priority,
            placed_at=request.placed_at,
        )
        self._reservations[reservation.id] = reservation
        for line in request.lines:
            self._add_line(reservation, line)
        self._track_backorders(reservation)
        return reservation

    def _add_line(self, reservation: Reservation, line: ProductQuantity) -> None:
        row = ReservationLine(
            reservation=reservation, product_id=line.product_id, quantity=line.quantity
        )
        self._lines[reservation.id][line.product_id] = row
        self._changed_lines[reservation.id, line.product_id] = row

    def _change(self, reservation: Reservation, request: MakeReservation) -> None:
        """Replace the lines by those of the request; release and allocate the excess."""
        reservation.revision = request.revision
        reservation.status = ReservationStatus.BACKORDERED
        new_lines = {line.product_id: line for line in request.lines}
        lines = self._lines[reservation.id]
        released = []
        for product_id, row in list(lines.items()):
            row.quantity = new_lines[product_id].quantity if product_id in new_lines else 0
            if self._release(reservation, row, max(row.reserved - row.quantity, 0)):
                released.append(product_id)
            self._changed_lines[reservation.id, product_id] = row
            if product_id not in new_lines:
                self._drop_line(reservation, row)
        for product_id, line in new_lines.items():
            if product_id not in lines:
                self._add_line(reservation, line)
        self._track_backorders(reservation)
        for product_id in released:
            self._allocate_available(product_id, {})

    def _drop_line(self, reservation: Reservation, row: ReservationLine) -> None:
        del self._lines[reservation.id][row.product_id]
        del self._changed_lines[reservation.id, row.product_id]
        self._backorders[row.product_id].pop(reservation.id, None)
        if row.pk is not None:
            self._dropped_lines.append(row.pk)

    def _track_backorders(self, reservation: Reservation) -> None:
        if reservation.status == ReservationStatus.BACKORDERED:
            for line in self._lines[reservation.id].values():
                self._track_backorder(reservation, line)

    def _track_backorder(self, reservation: Reservation, line: ReservationLine) -> None:
        backorders = self._backorders[line.product_id]
        if line.shortage:
            backorders[reservation.id] = Backorder(
                shortage=line.shortage,
                priority=reservation.priority,
                placed_at=reservation.placed_at,
            )
        else:
            backorders.pop(reservation.id, None)

    def _allocation_for(self, reservation: Reservation) -> dict[UUID, int]:
        """Return what one backordered reservation gets of the available stock, by product."""
        allocation = {}
        for product_id in self._lines[reservation.id]:
            backorder = self._backorders[product_id].get(reservation.id)
            own_backorders = {reservation.id: backorder} if backorder else {}
            allocated = allocate(self.ledger.available(product_id), own_backorders)
            if reservation.id in allocated:
                allocation[product_id] = allocated[reservation.id]
        return allocation

    def _allocate_available(self, product_id: UUID, pegs: Mapping[UUID, int]) -> None:
        """Allocate the available quantity of a product to its backorders."""
        available = self.ledger.available(product_id)
        allocated = allocate(available, self._backorders[product_id], pegs)
        for reservation_id, quantity in allocated.items():
            reservation = self._reservations[reservation_id]
            self._reserve(reservation, product_id, quantity)
            self._accept_if_fully_reserved(reservation)

    def _reserve(self, reservation: Reservation, product_id: UUID, quantity: int) -> None:
        line = self._lines[reservation.id][product_id]
        line.reserved += quantity
        self._changed_lines[reservation.id, product_id] = line
        self.ledger.reserve(product_id, quantity, reservation_id=reservation.id)
        self._track_backorder(reservation, line)

    def _release(self, reservation: Reservation, line: ReservationLine, quantity: int) -> bool:
        """Release this quantity of a line; return whether it is more than 0."""
        if not quantity:
            return False
        line.reserved -= quantity
        self._changed_lines[reservation.id, line.product_id] = line
        self.ledger.release(line.product_id, quantity, reservation_id=reservation.id)
        return True

    def _accept_if_fully_reserved(self, reservation: Reservation) -> bool:
        """Accept the reservation and publish that; return False if it has a shortage."""
        if self._shortages(reservation):
            return False
        reservation.status = ReservationStatus.ACCEPTED
        self._changed[reservation.id] = reservation
        self._publish(ReservationAccepted(**_request_ids(reservation)))
        return True

    def _shortages(self, reservation: Reservation) -> tuple[ProductQuantity, ...]:
        return tuple(
            ProductQuantity(product_id=line.product_id, quantity=line.shortage)
            for line in self._lines[reservation.id].values()
            if line.shortage
        )

    def _publish(self, message: Message) -> None:
        self._outgoing.append(OutgoingMessage(message=message, caused_by=self.ledger.cause))


class _RequestIds(TypedDict):
    reservation_id: UUID
    revision: int
    request_number: int


def _request_ids(reservation: Reservation) -> _RequestIds:
    """Return the fields of the latest request that a reply repeats."""
    return {
        "reservation_id": reservation.id,
        "revision": reservation.revision,
        "request_number": reservation.request_number,
    }
