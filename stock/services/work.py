"""Stock at work: what a batch of messages, or a person, does to reservations and to what lies on the shelf."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TypedDict
from uuid import UUID

from orderflow.catalog.quantities import ProductQuantity
from orderflow.database import save_rows
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from purchase.contract import GoodsReceived, ReverseReceipt
from stock.allocation import Wait, allocate, first_promise
from stock.contract import MakeReservation, ReservationAccepted, ReservationRejected
from stock.models import Reservation, ReservationLine, ReservationStatus
from stock.services.ledger import Adjustment, Ledger, Reversal

ENDED = (ReservationStatus.SHIPPED, ReservationStatus.RELEASED)

Pegs = dict[UUID, Counter[UUID]]  # by product: how much was bought for which reservation


def what_arrives(receipts: Iterable[GoodsReceived]) -> tuple[Counter[UUID], Pegs]:
    """What arrives by product, and for whom."""
    quantities: Counter[UUID] = Counter()
    pegs: Pegs = defaultdict(Counter)
    for receipt in receipts:
        for line in receipt.lines:
            quantities[line.product_id] += line.quantity
            if line.bought_for:
                pegs[line.product_id][line.bought_for] += line.quantity
    return quantities, pegs


class Work:
    """Balances and reservations being changed in one transaction: locked in one pass, folded in memory, written once.

    Two increases of two products can fill one reservation, each in its own transaction. So every reservation is locked, and
    its lines are read after that: whoever comes second sees both lines full, and announces it.
    """

    def __init__(
        self,
        *,
        products: Collection[UUID],
        reservations: Collection[UUID] = (),
        increases: Mapping[UUID, int],
        pegs: Pegs | None = None,
        by: str = "",
    ) -> None:
        self.ledger = Ledger(products, by=by)
        self._pegged = {reservation for pegged in (pegs or {}).values() for reservation in pegged}
        about = self._pegged | set(reservations) | self._who_waits_for_a_surplus(increases, pegs or {}, reservations)
        self._reservations = {row.id: row for row in Reservation.objects.filter(id__in=about).locked()}
        self._lines: dict[UUID, dict[UUID, ReservationLine]] = defaultdict(dict)
        for line in ReservationLine.objects.filter(reservation__in=self._reservations):
            self._lines[line.reservation_id][line.product_id] = line
        self._waits: dict[UUID, dict[UUID, Wait]] = defaultdict(dict)
        for reservation in self._reservations.values():
            self._note_waits(reservation)
        self._changed: dict[UUID, Reservation] = {}
        self._changed_lines: dict[tuple[UUID, UUID], ReservationLine] = {}
        self._dropped_lines: list[int] = []
        self._outgoing: list[Outgoing] = []

    def reserve(self, request: MakeReservation) -> None:
        reservation = self._reservations.get(request.reservation_id)
        if reservation is None:
            reservation = self._add(request)
            available = {line.product_id: self.ledger.available(line.product_id) for line in request.lines}
            wanted = {line.product_id: line.quantity for line in request.lines}
            promise = first_promise(wanted, available, hold_parts=request.hold_parts)
        elif reservation.status in ENDED or request.revision < reservation.revision:
            return  # whoever asks was answered long ago, or asks something newer
        else:
            if request.revision > reservation.revision:
                self._change(reservation, request)
            promise = self._what_is_there_for(reservation) if reservation.status == ReservationStatus.WAITING else {}
        reservation.request = request.request
        self._changed[reservation.id] = reservation
        for product_id, quantity in promise.items():
            self._hold(reservation, product_id, quantity)
        if not self._announce_if_complete(reservation):
            self._tell(ReservationRejected(**_echo(reservation), missing=self._missing(reservation)))

    def release(self, reservation_id: UUID) -> None:
        reservation = self._reservations.get(reservation_id)
        if reservation is None:  # its request may still come, or never will: the tombstone is the answer
            reservation = Reservation(id=reservation_id, revision=0, request=0, priority=0, placed_at=self.ledger.now)
        elif reservation.status == ReservationStatus.SHIPPED:
            raise UnexpectedMessage(f"Reservation {reservation_id} cannot be released: it was shipped.")
        elif reservation.status == ReservationStatus.RELEASED:
            return
        reservation.status = ReservationStatus.RELEASED
        self._reservations[reservation_id] = self._changed[reservation_id] = reservation
        lines = self._lines[reservation_id].values()
        for line in lines:
            self._waits[line.product_id].pop(reservation_id, None)
        self._serve_with([line.product_id for line in lines if self._let_go(reservation, line, line.held)])

    def receive(self, receipt: GoodsReceived) -> None:
        quantities, pegs = what_arrives([receipt])
        for product_id, quantity in quantities.items():
            self.ledger.receive(product_id, quantity, receipt_id=receipt.receipt_id)
            self._serve_who_waits(product_id, pegs.get(product_id, {}))

    def adjust(self, adjustment: Adjustment) -> None:
        self.ledger.adjust(adjustment)
        if adjustment.quantity > 0:
            self._serve_who_waits(adjustment.product_id, {})

    def reverse(self, reversal: Reversal) -> None:
        self.ledger.reverse(reversal)
        self._tell(
            ReverseReceipt(
                reversal_id=reversal.id,
                receipt_id=reversal.receipt_id,
                product=ProductQuantity(product_id=reversal.product_id, quantity=reversal.quantity),
                reason=reversal.reason,
                by=self.ledger.by,
            )
        )

    def ship(self, reservation_id: UUID) -> None:
        reservation = self._reservations.get(reservation_id)
        if reservation and reservation.status == ReservationStatus.SHIPPED:
            return
        if reservation is None or reservation.status != ReservationStatus.ACCEPTED:
            raise UnexpectedMessage(f"Reservation {reservation_id} cannot be shipped: Stock did not accept it, or released it.")
        for line in self._lines[reservation_id].values():
            self.ledger.ship(line.product_id, line.held, reservation_id=reservation_id)
        reservation.status = ReservationStatus.SHIPPED
        self._changed[reservation_id] = reservation

    def save(self) -> None:
        self.ledger.save()
        save_rows(list(self._changed.values()), ["status", "revision", "request"])
        if self._dropped_lines:
            ReservationLine.objects.filter(pk__in=self._dropped_lines).delete()
        changed = self._changed_lines.values()
        new, known = [line for line in changed if line.pk is None], [line for line in changed if line.pk is not None]
        ReservationLine.objects.bulk_create(new)
        save_rows(known, ["quantity", "held"])
        publish(self._outgoing)

    def _who_waits_for_a_surplus(self, increases: Mapping[UUID, int], pegs: Pegs, asking: Collection[UUID]) -> set[UUID]:
        """Who in line may be served by what arrives beyond what was bought for somebody who still lacks it.

        Their lines can be read before the reservations are locked: how much of a product is held, and by whom, changes only
        under the lock of its balance, and that is ours.
        """
        waiting = ReservationLine.objects.that_wait()
        lacking: Counter[UUID] = Counter()
        for line in waiting.filter(reservation__in=self._pegged - set(asking), product__in=pegs):
            lacking[line.product_id] += min(line.missing, pegs[line.product_id][line.reservation_id])
        within_reach = {product_id: self.ledger.available(product_id) + quantity for product_id, quantity in increases.items()}
        surplus = {product_id: quantity for product_id, quantity in within_reach.items() if quantity > lacking[product_id]}
        # Somebody in this very batch may leave the line: what may be freed by that is no less than what they lack.
        return set(waiting.reached_by(surplus)) if surplus else set()

    def _add(self, request: MakeReservation) -> Reservation:
        reservation = Reservation(
            id=request.reservation_id,
            revision=request.revision,
            request=request.request,
            priority=request.priority,
            placed_at=request.placed_at,
        )
        self._reservations[reservation.id] = reservation
        for line in request.lines:
            self._add_line(reservation, line)
        self._note_waits(reservation)
        return reservation

    def _add_line(self, reservation: Reservation, line: ProductQuantity) -> None:
        row = ReservationLine(reservation=reservation, product_id=line.product_id, quantity=line.quantity)
        self._lines[reservation.id][line.product_id] = self._changed_lines[reservation.id, line.product_id] = row

    def _change(self, reservation: Reservation, request: MakeReservation) -> None:
        """Want what the request wants; keep as much of what is held as that is, and let go of the rest."""
        reservation.revision = request.revision
        reservation.status = ReservationStatus.WAITING
        wanted = {line.product_id: line for line in request.lines}
        lines = self._lines[reservation.id]
        freed = []
        for product_id, row in list(lines.items()):
            row.quantity = wanted[product_id].quantity if product_id in wanted else 0
            if self._let_go(reservation, row, max(row.held - row.quantity, 0)):
                freed.append(product_id)
            self._changed_lines[reservation.id, product_id] = row
            if product_id not in wanted:
                self._drop_line(reservation, row)
        for product_id, line in wanted.items():
            if product_id not in lines:
                self._add_line(reservation, line)
        self._note_waits(reservation)
        self._serve_with(freed)

    def _drop_line(self, reservation: Reservation, row: ReservationLine) -> None:
        del self._lines[reservation.id][row.product_id]
        del self._changed_lines[reservation.id, row.product_id]
        self._waits[row.product_id].pop(reservation.id, None)
        if row.pk is not None:
            self._dropped_lines.append(row.pk)

    def _note_waits(self, reservation: Reservation) -> None:
        if reservation.status == ReservationStatus.WAITING:
            for line in self._lines[reservation.id].values():
                self._note_wait(reservation, line)

    def _note_wait(self, reservation: Reservation, line: ReservationLine) -> None:
        waits = self._waits[line.product_id]
        if line.missing:
            waits[reservation.id] = Wait(missing=line.missing, priority=reservation.priority, placed_at=reservation.placed_at)
        else:
            waits.pop(reservation.id, None)

    def _what_is_there_for(self, reservation: Reservation) -> dict[UUID, int]:
        """The allocation pass for one reservation that waits."""
        promise = {}
        for product_id in self._lines[reservation.id]:
            waits = {each: wait for each, wait in self._waits[product_id].items() if each == reservation.id}
            promise[product_id] = allocate(self.ledger.available(product_id), waits).get(reservation.id, 0)
        return {product_id: quantity for product_id, quantity in promise.items() if quantity}

    def _serve_who_waits(self, product_id: UUID, pegs: Mapping[UUID, int]) -> None:
        """The allocation pass over everything that is available of a product."""
        for reservation_id, quantity in allocate(self.ledger.available(product_id), self._waits[product_id], pegs).items():
            reservation = self._reservations[reservation_id]
            self._hold(reservation, product_id, quantity)
            self._announce_if_complete(reservation)

    def _hold(self, reservation: Reservation, product_id: UUID, quantity: int) -> None:
        line = self._lines[reservation.id][product_id]
        line.held += quantity
        self._changed_lines[reservation.id, product_id] = line
        self.ledger.promise(product_id, quantity, reservation_id=reservation.id)
        self._note_wait(reservation, line)

    def _let_go(self, reservation: Reservation, line: ReservationLine, quantity: int) -> bool:
        """Give up so much of what a line holds; returns whether that is anything."""
        if not quantity:
            return False
        line.held -= quantity
        self._changed_lines[reservation.id, line.product_id] = line
        self.ledger.release(line.product_id, quantity, reservation_id=reservation.id)
        return True

    def _serve_with(self, freed: Iterable[UUID]) -> None:
        for product_id in freed:
            self._serve_who_waits(product_id, {})

    def _announce_if_complete(self, reservation: Reservation) -> bool:
        if self._missing(reservation):
            return False
        reservation.status = ReservationStatus.ACCEPTED
        self._changed[reservation.id] = reservation
        self._tell(ReservationAccepted(**_echo(reservation)))
        return True

    def _missing(self, reservation: Reservation) -> tuple[ProductQuantity, ...]:
        return tuple(
            ProductQuantity(product_id=line.product_id, quantity=line.missing)
            for line in self._lines[reservation.id].values()
            if line.missing
        )

    def _tell(self, message: Message) -> None:
        self._outgoing.append(Outgoing(message=message, caused_by=self.ledger.cause))


class _Echo(TypedDict):
    reservation_id: UUID
    revision: int
    request: int


def _echo(reservation: Reservation) -> _Echo:
    """What every answer repeats of the question."""
    return {"reservation_id": reservation.id, "revision": reservation.revision, "request": reservation.request}
