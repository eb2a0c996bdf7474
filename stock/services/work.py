"""Stock at work: balances and reservations being changed in one transaction."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from orderflow.catalog.quantities import ProductQuantity
from orderflow.database import save_rows
from orderflow.messaging.messages import Message, UnexpectedMessage
from orderflow.messaging.publishing import Outgoing, publish
from orderflow.refusals import Conflict
from purchase.contract import GoodsReceived, ReverseReceipt
from stock.allocation import Wait, allocate, first_promise
from stock.contract import MakeReservation, ReservationAccepted, ReservationRejected
from stock.models import Balance, Movement, Reservation, ReservationLine, ReservationStatus, StockMovement

ENDED = (ReservationStatus.SHIPPED, ReservationStatus.RELEASED)

Pegs = dict[UUID, Counter[UUID]]  # by product: how much was bought for which reservation


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A correction of what lies on the shelf, up or down. An id that was booked before counts once."""

    product_id: UUID
    quantity: int
    reason: str
    id: UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """Of a product, so many were counted that did not arrive with a receipt. An id that was booked before counts once."""

    receipt_id: UUID
    product_id: UUID
    quantity: int
    reason: str
    id: UUID = field(default_factory=uuid.uuid4)


class NotEnoughAvailable(Conflict):
    code = "not_enough_available"

    def __init__(self, balance: Balance, quantity: int) -> None:
        super().__init__(
            f"{-quantity:,} cannot be taken away: of {balance.on_hand:,} on hand {balance.reserved:,} are promised, so "
            f"{balance.available:,} can. Deliver what is promised first."
        )


class GoodsPromisedOrGone(Conflict):
    code = "goods_promised_or_gone"

    def __init__(self, balance: Balance, quantity: int) -> None:
        super().__init__(
            f"{quantity:,} cannot be reversed: of {balance.on_hand:,} on hand {balance.reserved:,} are promised, so "
            f"{balance.available:,} can. Cancel or change a sales order that they are promised to, and reverse then; what was "
            "shipped already is no receipt's mistake any more: count the shelf, and book a stock adjustment."
        )


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
        self.cause: int | None = None
        self._by = by
        self._now = timezone.now()
        self._balances = _lock_balances(products)
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
        self._movements: list[StockMovement] = []
        self._outgoing: list[Outgoing] = []

    def reserve(self, request: MakeReservation) -> None:
        reservation = self._reservations.get(request.reservation_id)
        if reservation is None:
            reservation = self._add(request)
            available = {line.product_id: self._balances[line.product_id].available for line in request.lines}
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
            reservation = Reservation(id=reservation_id, revision=0, request=0, priority=0, placed_at=self._now)
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
            self._move(Movement.RECEIVED, product_id, quantity, 0, document=receipt.receipt_id)
            self._balances[product_id].change(quantity)
            self._serve_who_waits(product_id, pegs.get(product_id, {}))

    def adjust(self, adjustment: Adjustment) -> None:
        balance = self._balances[adjustment.product_id]
        if balance.available + adjustment.quantity < 0:
            raise NotEnoughAvailable(balance, adjustment.quantity)
        self._move(
            Movement.ADJUSTED,
            adjustment.product_id,
            adjustment.quantity,
            0,
            document=adjustment.id,
            reason=adjustment.reason,
        )
        balance.change(adjustment.quantity)
        if adjustment.quantity > 0:
            self._serve_who_waits(adjustment.product_id, {})

    def reverse(self, reversal: Reversal) -> None:
        balance = self._balances[reversal.product_id]
        if balance.available < reversal.quantity:
            raise GoodsPromisedOrGone(balance, reversal.quantity)
        self._move(
            Movement.REVERSED,
            reversal.product_id,
            -reversal.quantity,
            0,
            document=reversal.id,
            corrects=reversal.receipt_id,
            reason=reversal.reason,
        )
        balance.change(-reversal.quantity)
        self._tell(
            ReverseReceipt(
                reversal_id=reversal.id,
                receipt_id=reversal.receipt_id,
                product=ProductQuantity(product_id=reversal.product_id, quantity=reversal.quantity),
                reason=reversal.reason,
                by=self._by,
            )
        )

    def ship(self, reservation_id: UUID) -> None:
        reservation = self._reservations.get(reservation_id)
        if reservation and reservation.status == ReservationStatus.SHIPPED:
            return
        if reservation is None or reservation.status != ReservationStatus.ACCEPTED:
            raise UnexpectedMessage(f"Reservation {reservation_id} cannot be shipped: Stock did not accept it, or released it.")
        for line in self._lines[reservation_id].values():
            self._balances[line.product_id].ship(line.held)
            self._move(Movement.SHIPPED, line.product_id, -line.held, -line.held, document=reservation_id)
        reservation.status = ReservationStatus.SHIPPED
        self._changed[reservation_id] = reservation

    def save(self) -> None:
        moved = {movement.product_id for movement in self._movements}
        save_rows([balance for balance in self._balances.values() if balance.product_id in moved], ["on_hand", "reserved"])
        save_rows(list(self._changed.values()), ["status", "revision", "request"])
        lines = self._changed_lines.values()
        if self._dropped_lines:
            ReservationLine.objects.filter(pk__in=self._dropped_lines).delete()
        ReservationLine.objects.bulk_create(line for line in lines if line.pk is None)
        save_rows([line for line in lines if line.pk is not None], ["quantity", "held"])
        StockMovement.objects.bulk_create(self._movements)
        publish(self._outgoing)

    def _who_waits_for_a_surplus(self, increases: Mapping[UUID, int], pegs: Pegs, asking: Collection[UUID]) -> set[UUID]:
        """Everybody in line for a product of which more arrives than was bought for somebody who still lacks it.

        Their lines can be read before the reservations are locked: how much of a product is held, and by whom, changes only
        under the lock of its balance, and that is ours.
        """
        waiting = ReservationLine.objects.filter(reservation__status=ReservationStatus.WAITING, held__lt=F("quantity"))
        lacking: Counter[UUID] = Counter()
        for line in waiting.filter(reservation__in=self._pegged - set(asking), product__in=pegs):
            lacking[line.product_id] += min(line.missing, pegs[line.product_id][line.reservation_id])
        surplus = [
            product_id
            for product_id, quantity in increases.items()
            if self._balances[product_id].available + quantity > lacking[product_id]
        ]
        if not surplus:
            return set()
        return set(waiting.filter(product__in=surplus).values_list("reservation_id", flat=True))

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
        for product_id in wanted.keys() - lines.keys():
            self._add_line(reservation, wanted[product_id])
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
            promise[product_id] = allocate(self._balances[product_id].available, waits).get(reservation.id, 0)
        return {product_id: quantity for product_id, quantity in promise.items() if quantity}

    def _serve_who_waits(self, product_id: UUID, pegs: Mapping[UUID, int]) -> None:
        """The allocation pass over everything that is available of a product."""
        for reservation_id, quantity in allocate(self._balances[product_id].available, self._waits[product_id], pegs).items():
            reservation = self._reservations[reservation_id]
            self._hold(reservation, product_id, quantity)
            self._announce_if_complete(reservation)

    def _hold(self, reservation: Reservation, product_id: UUID, quantity: int) -> None:
        line = self._lines[reservation.id][product_id]
        line.held += quantity
        self._changed_lines[reservation.id, product_id] = line
        self._balances[product_id].promise(quantity)
        self._move(Movement.PROMISED, product_id, 0, quantity, document=reservation.id)
        self._note_wait(reservation, line)

    def _let_go(self, reservation: Reservation, line: ReservationLine, quantity: int) -> bool:
        """Give up so much of what a line holds; returns whether that is anything."""
        if not quantity:
            return False
        line.held -= quantity
        self._changed_lines[reservation.id, line.product_id] = line
        self._balances[line.product_id].release(quantity)
        self._move(Movement.RELEASED, line.product_id, 0, -quantity, document=reservation.id)
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

    def _move(
        self,
        kind: Movement,
        product_id: UUID,
        on_hand: int,
        reserved: int,
        *,
        document: UUID,
        corrects: UUID | None = None,
        reason: str = "",
    ) -> None:
        self._movements.append(
            StockMovement(
                kind=kind,
                product_id=product_id,
                on_hand=on_hand,
                reserved=reserved,
                document=document,
                corrects=corrects,
                reason=reason,
                message_id=self.cause,
                by=self._by,
                at=self._now,
            )
        )

    def _tell(self, message: Message) -> None:
        self._outgoing.append(Outgoing(message=message, caused_by=self.cause))


def _lock_balances(products: Collection[UUID]) -> dict[UUID, Balance]:
    """The balances of these products, locked by product; those that nobody asked for before begin at zero."""
    known = set(Balance.objects.filter(product__in=products).values_list("product_id", flat=True))
    missing = sorted(set(products) - known)
    Balance.objects.bulk_create([Balance(product_id=each) for each in missing], ignore_conflicts=True)
    return {balance.product_id: balance for balance in Balance.objects.filter(product__in=products).locked()}


class _Echo(TypedDict):
    reservation_id: UUID
    revision: int
    request: int


def _echo(reservation: Reservation) -> _Echo:
    """What every answer repeats of the question."""
    return {"reservation_id": reservation.id, "revision": reservation.revision, "request": reservation.request}
