"""Stock as a consumer of messages."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from orderflow.messaging.messages import Message, ReceivedMessage, UnexpectedMessage
from purchase.contract import GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation
from stock.models import MovementType, ReservationLine, StockMovement
from stock.services.work import Work, summarize_receipts


def handle_messages(batch: Sequence[ReceivedMessage]) -> None:
    """Apply a batch of messages to stock levels and reservations, inside the drain's transaction.

    Locks: the stock levels, by product id; then the reservations, by id.
    Raises: `UnexpectedMessage`.
    """
    messages = [received.message for received in batch]
    requests = [message for message in messages if isinstance(message, MakeReservation)]
    receipts = [message for message in messages if isinstance(message, GoodsReceived)]
    shipped = {each.reservation_id for each in messages if isinstance(each, ShipReservation)}
    released = {each.reservation_id for each in messages if isinstance(each, ReleaseReservation)}
    changed = {each.reservation_id for each in requests if each.revision > 1}
    received, pegs = summarize_receipts(receipts)
    releasable = _releasable(messages, released | changed)
    requested = {line.product_id for request in requests for line in request.lines}
    work = Work(
        products=requested | received.keys() | releasable.keys() | _products(shipped),
        reservations={request.reservation_id for request in requests} | shipped | released,
        increases=received + releasable,
        pegs=pegs,
    )
    recorded = _recorded_receipts(receipts)
    for each in batch:
        work.ledger.cause = each.id
        _handle(each.message, work, recorded)
    work.save()


def _handle(message: Message, work: Work, recorded: Collection[UUID]) -> None:
    match message:
        case MakeReservation():
            work.reserve(message)
        case ReleaseReservation():
            work.release(message.reservation_id)
        case ShipReservation():
            work.ship(message.reservation_id)
        case GoodsReceived():
            if message.receipt_id not in recorded:
                work.receive(message)
        case PurchaseOrderCancelled() | PurchaseOrderClosedShort():
            # No effect. Sales only checks whether Stock has handled this message: then every
            # earlier receipt of the purchase order is recorded.
            pass
        case _:
            raise UnexpectedMessage(f"Stock does not handle {type(message).__name__}.")


def _releasable(messages: Iterable[Message], reservation_ids: Collection[UUID]) -> Counter[UUID]:
    """Return the most that the batch can release of these reservations, by product.

    Computed from requested quantities, which change only under the consumer's lock. The reserved
    quantities are not locked yet and may still change.
    """
    requested: dict[UUID, Counter[UUID]] = defaultdict(Counter)
    revisions: dict[UUID, int] = {}
    if reservation_ids:
        rows = ReservationLine.objects.filter(reservation__in=reservation_ids)
        for row in rows.select_related("reservation"):
            requested[row.reservation_id][row.product_id] = row.quantity
            revisions[row.reservation_id] = row.reservation.revision
    releasable: Counter[UUID] = Counter()
    for message in messages:
        match message:
            case MakeReservation(reservation_id=each) if (
                each in reservation_ids and message.revision > revisions.get(each, 0)
            ):
                lines = Counter({line.product_id: line.quantity for line in message.lines})
                revisions[each] = message.revision
            case ReleaseReservation(reservation_id=each):
                lines = Counter()
            case _:
                continue
        releasable += requested[each] - lines  # a difference of counters has no negative counts
        requested[each] = lines
    return releasable


def _products(reservation_ids: Collection[UUID]) -> set[UUID]:
    """Return the product ids of these reservations.

    Read without a row lock: they change only under the consumer's lock.
    """
    if not reservation_ids:
        return set()
    rows = ReservationLine.objects.filter(reservation__in=reservation_ids)
    return set(rows.values_list("product_id", flat=True))


def _recorded_receipts(receipts: Sequence[GoodsReceived]) -> set[UUID]:
    """Return the ids of the receipts that were recorded before."""
    if not receipts:
        return set()
    rows = StockMovement.objects.filter(
        movement_type=MovementType.RECEIVED,
        source_document_id__in=[each.receipt_id for each in receipts],
    )
    return set(rows.values_list("source_document_id", flat=True))
