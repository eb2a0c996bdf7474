"""What can be asked about shelves and promises."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from orderflow.findings import Check, check
from stock.models import Balance, Movement, Reservation, ReservationLine, ReservationStatus, StockMovement

_ACCEPTED = [ReservationStatus.ACCEPTED, ReservationStatus.SHIPPED]
_HOLDING = [ReservationStatus.WAITING, ReservationStatus.ACCEPTED]


@dataclass(frozen=True, kw_only=True)
class Level:
    sku: str
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One line of a reservation: how much of it is held."""

    product_id: UUID
    sku: str
    quantity: int
    held: int

    @property
    def missing(self) -> int:
        return self.quantity - self.held


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A movement in the ledger."""

    id: int
    at: datetime
    kind: str
    sku: str
    on_hand: int
    reserved: int


def levels() -> list[Level]:
    rows = Balance.objects.order_by("product__sku").values_list("product__sku", "on_hand", "reserved")
    return [Level(sku=sku, on_hand=on_hand, reserved=reserved) for sku, on_hand, reserved in rows]


def promises(reservation_id: UUID) -> list[Promise]:
    rows = ReservationLine.objects.filter(reservation=reservation_id)
    return [
        Promise(product_id=product_id, sku=sku, quantity=quantity, held=held)
        for product_id, sku, quantity, held in rows.values_list("product", "product__sku", "quantity", "held")
    ]


def held_for(reservation_ids: Collection[UUID]) -> dict[tuple[UUID, UUID], int]:
    """How much is held, or was until it was shipped, by reservation and product."""
    rows = ReservationLine.objects.filter(reservation__in=reservation_ids).order_by()
    return {
        (reservation_id, product_id): held
        for reservation_id, product_id, held in rows.values_list("reservation", "product", "held")
    }


def places_in_line(reservation_id: UUID) -> dict[UUID, int]:
    """By product that a reservation lacks: 1 where it is the next to be served, apart from goods that are bought for others."""
    mine = Reservation.objects.waiting().filter(id=reservation_id).first()
    if mine is None:
        return {}
    waiting = ReservationLine.objects.that_wait()
    lacking = waiting.filter(reservation=mine).values_list("product", flat=True)
    earlier = Q(reservation__placed_at=mine.placed_at, reservation__id__lt=mine.id) | Q(reservation__placed_at__lt=mine.placed_at)
    ahead = Q(reservation__priority__gt=mine.priority) | (Q(reservation__priority=mine.priority) & earlier)
    counted = waiting.filter(ahead, product__in=lacking).order_by().values("product").annotate(count=Count("id"))
    before_me = dict(counted.values_list("product", "count"))
    return {product_id: before_me.get(product_id, 0) + 1 for product_id in lacking}


def movements_about(document: UUID) -> list[Moved]:
    rows = StockMovement.objects.filter(document=document).order_by("id")
    return [
        Moved(id=pk, at=at, kind=kind, sku=sku, on_hand=on_hand, reserved=reserved)
        for pk, at, kind, sku, on_hand, reserved in rows.values_list("id", "at", "kind", "product__sku", "on_hand", "reserved")
    ]


def reservations_that_are(*statuses: str) -> QuerySet[Reservation, UUID]:
    """Their ids: the sales orders' ids."""
    chosen = [ReservationStatus(each) for each in statuses]
    return Reservation.objects.filter(status__in=chosen).values_list("id", flat=True)


def adjusted(adjustments: Collection[UUID]) -> dict[UUID, tuple[UUID, int, str]]:
    """Product, quantity and reason of those of these adjustments that are booked."""
    rows = StockMovement.objects.filter(kind=Movement.ADJUSTED, document__in=adjustments)
    fields = rows.values_list("document", "product", "on_hand", "reason")
    return {document: (product_id, on_hand, reason) for document, product_id, on_hand, reason in fields}


def received_with(receipt_id: UUID, product_id: UUID) -> int:
    """How much of a product was booked with a receipt, and not reversed since."""
    about = Q(kind=Movement.RECEIVED, document=receipt_id) | Q(kind=Movement.REVERSED, corrects=receipt_id)
    total: int | None = StockMovement.objects.filter(about, product=product_id).aggregate(total=Sum("on_hand"))["total"]
    return total or 0


def reversed_by(reversal_id: UUID) -> tuple[UUID, UUID, int, str] | None:
    """Receipt, product, quantity and reason of a reversal that is booked."""
    row = StockMovement.objects.filter(kind=Movement.REVERSED, document=reversal_id).first()
    return (row.corrects, row.product_id, -row.on_hand, row.reason) if row and row.corrects else None


def lines_missing() -> Iterator[tuple[UUID, UUID, int]]:
    """Reservation, product and quantity of what those that wait lack."""
    rows = ReservationLine.objects.that_wait().annotate(lacking=F("quantity") - F("held")).order_by()
    yield from rows.values_list("reservation", "product", "lacking").iterator()


def lines_reserved() -> Iterator[tuple[UUID, UUID, int, int]]:
    """Reservation, product, quantity asked for and the reservation's revision, of every line of one that was not released."""
    rows = ReservationLine.objects.exclude(reservation__status=ReservationStatus.RELEASED).order_by()
    yield from rows.values_list("reservation", "product", "quantity", "reservation__revision").iterator()


def received_by_product() -> dict[UUID, int]:
    """What was received, less what was reversed."""
    rows = StockMovement.objects.filter(kind__in=[Movement.RECEIVED, Movement.REVERSED]).values("product")
    return dict(rows.annotate(total=Sum("on_hand")).values_list("product", "total"))


def checks() -> Iterator[Check]:
    """Stock's own invariants."""
    balances = Balance.objects.select_related("product")
    yield check("0 <= reserved <= on hand", _shown(balances.filter(Q(reserved__lt=0) | Q(reserved__gt=F("on_hand")))))
    held = _sum_of(ReservationLine.objects.filter(reservation__status__in=_HOLDING), "held")
    yield check("reserved is what the reservations hold", _shown(balances.annotate(total=held).exclude(reserved=F("total"))))
    for number in ("on_hand", "reserved"):
        total = _sum_of(StockMovement.objects.all(), number)
        wrong = balances.annotate(total=total).exclude(**{number: F("total")})
        yield check(f"{number.replace('_', ' ')} is the sum of the ledger", _shown(wrong))
    lacking = ReservationLine.objects.filter(held__lt=F("quantity")).select_related("reservation", "product")
    yield check(
        "an accepted reservation holds all of it",
        (f"{line.reservation}: {line}" for line in lacking.filter(reservation__status__in=_ACCEPTED)),
    )
    released = ReservationLine.objects.filter(reservation__status=ReservationStatus.RELEASED, held__gt=0)
    yield check("who was released holds nothing", (f"{line.reservation}: {line}" for line in released.select_related("product")))
    waiting = lacking.filter(reservation__status=ReservationStatus.WAITING)
    served = waiting.filter(quantity__lte=F("held") + F("product__balance__on_hand") - F("product__balance__reserved"))
    yield check("nobody waits for what is there", (f"{line.reservation}: {line}" for line in served))
    nothing_missing = Reservation.objects.waiting().exclude(id__in=waiting.values("reservation"))
    yield check("who waits lacks something", nothing_missing)


def _sum_of(rows: QuerySet[ReservationLine] | QuerySet[StockMovement], field: str) -> Coalesce:
    """The sum of a field over the rows of a balance's product."""
    of_product = rows.filter(product=OuterRef("product")).order_by().values("product")
    return Coalesce(Subquery(of_product.annotate(total=Sum(field)).values("total")), 0)


def _shown(balances: QuerySet[Balance]) -> Iterator[str]:
    return (f"{balance.product.sku}: {balance}" for balance in balances)
