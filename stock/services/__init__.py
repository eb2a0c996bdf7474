"""What can be done with stock, each in one transaction: adjust it, reverse a receipt, and take a batch of messages about it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity, checked_lines
from orderflow.database import once_more_if_taken
from orderflow.messaging.messages import Message, Received, UnexpectedMessage
from orderflow.reasons import checked_reason
from orderflow.refusals import Conflict, Refused
from purchase.contract import GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation
from stock.models import Movement, ReservationLine, StockMovement
from stock.queries import adjusted, received_with, reversed_by
from stock.services.ledger import Adjustment, GoodsPromisedOrGone, NotEnoughAvailable, Reversal
from stock.services.work import Work, what_arrives

__all__ = [
    "Adjustment",
    "AdjustmentOutOfRange",
    "AdjustmentTaken",
    "GoodsPromisedOrGone",
    "MoreThanReceived",
    "NotEnoughAvailable",
    "Reversal",
    "ReversalTaken",
    "adjust_stock",
    "reverse_receipt",
    "take",
]


class AdjustmentOutOfRange(Refused):
    """An adjustment of nothing, or of more than a billion."""

    code = "adjustment_out_of_range"

    def __init__(self, quantity: int) -> None:
        super().__init__(f"An adjustment is a whole number up to {LARGEST_QUANTITY:,}, plus or minus, not {quantity:,}.")


class AdjustmentTaken(Conflict):
    """The id belongs to another adjustment."""

    code = "adjustment_taken"

    def __init__(self, adjustment_id: UUID) -> None:
        super().__init__(f"There is another adjustment with the id {adjustment_id}. Nothing was booked: choose a different id.")


class MoreThanReceived(Conflict):
    """More is to be reversed than came with the receipt."""

    code = "more_than_received"

    def __init__(self, receipt_id: UUID, booked: int, quantity: int) -> None:
        booked_so_far = f"booked {booked:,} of this product" if booked else "booked nothing of this product, or not yet,"
        super().__init__(
            f"Stock has {booked_so_far} with receipt {receipt_id}: {quantity:,} of it cannot be reversed. "
            "Look at the receipt, or try again in a moment."
        )


class ReversalTaken(Conflict):
    """The id belongs to another reversal."""

    code = "reversal_taken"

    def __init__(self, reversal_id: UUID) -> None:
        super().__init__(f"There is another reversal with the id {reversal_id}. Nothing was booked: choose a different id.")


@once_more_if_taken
def adjust_stock(adjustments: Sequence[Adjustment], *, by: str) -> list[UUID]:
    """Book corrections, all or none; goods that are found serve those who wait. Returns the ids of those that were new.

    Locks the balances, then the reservations that wait. Raises `NotEnoughAvailable`, `AdjustmentTaken`, `AdjustmentOutOfRange`,
    `ReasonTooLong`.
    """
    for each in adjustments:
        if not 1 <= abs(each.quantity) <= LARGEST_QUANTITY:
            raise AdjustmentOutOfRange(each.quantity)
    work = Work(products={each.product_id for each in adjustments}, increases=_found(adjustments), by=by)
    booked = adjusted([each.id for each in adjustments])
    new = []
    for each in adjustments:
        if each.id not in booked:
            work.adjust(each)
            booked[each.id] = each.product_id, each.quantity, checked_reason(each.reason)
            new.append(each.id)
        elif booked[each.id] != (each.product_id, each.quantity, checked_reason(each.reason)):
            raise AdjustmentTaken(each.id)
    work.save()
    return new


@once_more_if_taken
def reverse_receipt(reversal: Reversal, *, by: str) -> None:
    """Take back what was counted wrongly when goods arrived: it leaves the shelf, and Purchase hears that it never came.

    An id that was booked before counts once. Locks the balance. Raises `GoodsPromisedOrGone`, `MoreThanReceived`,
    `ReversalTaken`, `QuantityOutOfRange`, `ReasonTooLong`.
    """
    checked_lines([ProductQuantity(product_id=reversal.product_id, quantity=reversal.quantity)])
    work = Work(products={reversal.product_id}, increases={}, by=by)
    before = reversed_by(reversal.id)
    if before == (reversal.receipt_id, reversal.product_id, reversal.quantity, checked_reason(reversal.reason)):
        return
    if before:
        raise ReversalTaken(reversal.id)
    booked = received_with(reversal.receipt_id, reversal.product_id)
    if reversal.quantity > booked:
        raise MoreThanReceived(reversal.receipt_id, booked, reversal.quantity)
    work.reverse(reversal)
    work.save()


def take(batch: Sequence[Received]) -> None:
    """Stock as a consumer: fold a batch of messages into balances and reservations, inside the drain's transaction.

    Locks, in one pass each, the balances by product, then the reservations by id. Raises `UnexpectedMessage`.
    """
    messages = [received.message for received in batch]
    requests = [message for message in messages if isinstance(message, MakeReservation)]
    receipts = [message for message in messages if isinstance(message, GoodsReceived)]
    shipped = {message.reservation_id for message in messages if isinstance(message, ShipReservation)}
    released = {message.reservation_id for message in messages if isinstance(message, ReleaseReservation)}
    arriving, pegs = what_arrives(receipts)
    freed = _may_be_freed(messages, released | {request.reservation_id for request in requests if request.revision > 1})
    requested = {line.product_id for request in requests for line in request.lines}
    work = Work(
        products=requested | arriving.keys() | freed.keys() | _products(shipped),
        reservations={request.reservation_id for request in requests} | shipped | released,
        increases=arriving + freed,
        pegs=pegs,
    )
    booked = _booked(receipts)
    for received in batch:
        work.ledger.cause = received.id
        _handle(received.message, work, booked)
    work.save()


def _handle(message: Message, work: Work, booked: Collection[UUID]) -> None:
    match message:
        case MakeReservation():
            work.reserve(message)
        case ReleaseReservation():
            work.release(message.reservation_id)
        case ShipReservation():
            work.ship(message.reservation_id)
        case GoodsReceived():
            if message.receipt_id not in booked:
                work.receive(message)
        case PurchaseOrderCancelled() | PurchaseOrderClosedShort():
            pass  # once they are handled, all that came before them is booked: that is what retries wait for
        case _:
            raise UnexpectedMessage(f"Stock does not handle {type(message).__name__}.")


# -- what a batch is about ------------------------------------------------------------------------------------------------


def _found(adjustments: Iterable[Adjustment]) -> Counter[UUID]:
    found: Counter[UUID] = Counter()
    for each in adjustments:
        found[each.product_id] += max(each.quantity, 0)
    return +found


def _may_be_freed(messages: Iterable[Message], giving_up: Collection[UUID]) -> Counter[UUID]:
    """By product, the most that these reservations can let go of, as the messages want less and less.

    Read before anything is locked, when nobody can say yet how much they hold; what they want changes only here, under the
    consumer's lock.
    """
    wanted: dict[UUID, Counter[UUID]] = defaultdict(Counter)
    revisions: dict[UUID, int] = {}
    if giving_up:
        for row in ReservationLine.objects.filter(reservation__in=giving_up).select_related("reservation"):
            wanted[row.reservation_id][row.product_id] = row.quantity
            revisions[row.reservation_id] = row.reservation.revision
    freed: Counter[UUID] = Counter()
    for message in messages:
        match message:
            case MakeReservation(reservation_id=each) if each in giving_up and message.revision > revisions.get(each, 0):
                now = Counter({line.product_id: line.quantity for line in message.lines})
                revisions[each] = message.revision
            case ReleaseReservation(reservation_id=each):
                now = Counter()
            case _:
                continue
        freed += wanted[each] - now  # of counters: what is less than before
        wanted[each] = now
    return freed


def _products(reservations: Collection[UUID]) -> set[UUID]:
    """The products of these reservations; read without a lock: they change only here, under the consumer's lock."""
    if not reservations:
        return set()
    return set(ReservationLine.objects.filter(reservation__in=reservations).values_list("product_id", flat=True))


def _booked(receipts: Sequence[GoodsReceived]) -> set[UUID]:
    if not receipts:
        return set()
    booked = StockMovement.objects.filter(kind=Movement.RECEIVED, document__in=[each.receipt_id for each in receipts])
    return set(booked.values_list("document", flat=True))
