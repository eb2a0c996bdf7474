"""What can be done with stock, each in one transaction: adjust it, and take a batch of messages about it."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.database import once_more_if_taken
from orderflow.messaging.messages import Received, UnexpectedMessage
from orderflow.refusals import Conflict, Refused
from purchase.contract import GoodsReceived
from stock.contract import MakeReservation, ShipReservation
from stock.models import Movement, ReservationLine, StockMovement
from stock.queries import adjusted
from stock.services.work import Adjustment, NotEnoughAvailable, Work, what_arrives

__all__ = ["Adjustment", "AdjustmentOutOfRange", "AdjustmentTaken", "NotEnoughAvailable", "adjust_stock", "take"]


class AdjustmentOutOfRange(Refused):
    code = "adjustment_out_of_range"

    def __init__(self, quantity: int) -> None:
        super().__init__(f"An adjustment is a whole number up to {LARGEST_QUANTITY:,}, plus or minus, not {quantity:,}.")


class AdjustmentTaken(Conflict):
    code = "adjustment_taken"

    def __init__(self, adjustment_id: UUID) -> None:
        super().__init__(f"There is another adjustment with the id {adjustment_id}. Nothing was booked: choose a different id.")


@once_more_if_taken
def adjust_stock(adjustments: Sequence[Adjustment], *, by: str) -> list[UUID]:
    """Book corrections, all or none; goods that are found serve those who wait. Returns the ids of those that were new.

    Locks the balances, then the reservations that wait. Raises `NotEnoughAvailable`, `AdjustmentTaken`, `AdjustmentOutOfRange`.
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
            booked[each.id] = each.product_id, each.quantity
            new.append(each.id)
        elif booked[each.id] != (each.product_id, each.quantity):
            raise AdjustmentTaken(each.id)
    work.save()
    return new


def take(batch: Sequence[Received]) -> None:
    """Stock as a consumer: fold a batch of messages into balances and reservations, inside the drain's transaction.

    Locks, in one pass each, the balances by product, then the reservations by id. Raises `UnexpectedMessage`.
    """
    messages = [received.message for received in batch]
    requests = [message for message in messages if isinstance(message, MakeReservation)]
    receipts = [message for message in messages if isinstance(message, GoodsReceived)]
    shipped = {message.reservation_id for message in messages if isinstance(message, ShipReservation)}
    arriving, pegs = what_arrives(receipts)
    requested = {line.product_id for request in requests for line in request.lines}
    work = Work(
        products=requested | arriving.keys() | _products(shipped),
        reservations={request.reservation_id for request in requests} | shipped,
        increases=arriving,
        pegs=pegs,
    )
    booked = _booked(receipts)
    for received in batch:
        work.cause = received.id
        match received.message:
            case MakeReservation() as request:
                work.reserve(request)
            case ShipReservation() as order:
                work.ship(order.reservation_id)
            case GoodsReceived() as receipt:
                if receipt.receipt_id not in booked:
                    work.receive(receipt)
            case other:
                raise UnexpectedMessage(f"Stock does not handle {type(other).__name__}.")
    work.save()


# -- what a batch is about ------------------------------------------------------------------------------------------------


def _found(adjustments: Iterable[Adjustment]) -> Counter[UUID]:
    found: Counter[UUID] = Counter()
    for each in adjustments:
        found[each.product_id] += max(each.quantity, 0)
    return +found


def _products(reservations: Collection[UUID]) -> set[UUID]:
    """The products of these reservations; read without a lock, because the products of a reservation do not change."""
    if not reservations:
        return set()
    return set(ReservationLine.objects.filter(reservation__in=reservations).values_list("product_id", flat=True))


def _booked(receipts: Sequence[GoodsReceived]) -> set[UUID]:
    if not receipts:
        return set()
    booked = StockMovement.objects.filter(kind=Movement.RECEIVED, document__in=[each.receipt_id for each in receipts])
    return set(booked.values_list("document", flat=True))
