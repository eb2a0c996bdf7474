"""Read stock levels, reservations and the stock ledger.

The functions return values, never querysets.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from orderflow.core.invariants import InvariantCheck, check_invariant
from stock.models import (
    MovementType,
    Reservation,
    ReservationLine,
    ReservationStatus,
    StockLevel,
    StockMovement,
)

_FULLY_RESERVED = [ReservationStatus.ACCEPTED, ReservationStatus.SHIPPED]
_RESERVING = [ReservationStatus.BACKORDERED, ReservationStatus.ACCEPTED]


@dataclass(frozen=True, kw_only=True)
class StockLevelSummary:
    """The quantities of one product."""

    sku: str
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


@dataclass(frozen=True, kw_only=True)
class ReservationLineSummary:
    """One line of a reservation."""

    product_id: UUID
    sku: str
    quantity: int
    reserved: int

    @property
    def shortage(self) -> int:
        return self.quantity - self.reserved


@dataclass(frozen=True, kw_only=True)
class MovementRecord:
    """One row of the stock ledger. `on_hand` and `reserved`: by how much they changed."""

    id: int
    created_at: datetime
    movement_type: str
    sku: str
    on_hand: int
    reserved: int


def stock_levels() -> list[StockLevelSummary]:
    """Return the stock levels of all products, by SKU."""
    rows = StockLevel.objects.order_by("product__sku")
    return [
        StockLevelSummary(sku=sku, on_hand=on_hand, reserved=reserved)
        for sku, on_hand, reserved in rows.values_list("product__sku", "on_hand", "reserved")
    ]


def reservation_lines(reservation_id: UUID) -> list[ReservationLineSummary]:
    """Return the lines of a reservation."""
    rows = ReservationLine.objects.filter(reservation=reservation_id)
    fields = rows.values_list("product", "product__sku", "quantity", "reserved")
    return [
        ReservationLineSummary(
            product_id=product_id, sku=sku, quantity=quantity, reserved=reserved
        )
        for product_id, sku, quantity, reserved in fields
    ]


def reserved_quantities(reservation_ids: Collection[UUID]) -> dict[tuple[UUID, UUID], int]:
    """Return the reserved quantities by reservation and product; unchanged after shipping."""
    rows = ReservationLine.objects.filter(reservation__in=reservation_ids).order_by()
    return {
        (reservation_id, product_id): reserved
        for reservation_id, product_id, reserved in rows.values_list(
            "reservation", "product", "reserved"
        )
    }


def queue_positions(reservation_id: UUID) -> dict[UUID, int]:
    """Return the queue positions of a reservation, by product with a shortage.

    Position 1 is allocated next, unless the received goods are pegged to another reservation.
    """
    own = Reservation.objects.backordered().filter(id=reservation_id).first()
    if own is None:
        return {}
    backordered = ReservationLine.objects.backordered()
    products = backordered.filter(reservation=own).values_list("product", flat=True)
    placed_before = Q(reservation__placed_at__lt=own.placed_at) | Q(
        reservation__placed_at=own.placed_at, reservation__id__lt=own.id
    )
    ahead = Q(reservation__priority__gt=own.priority) | (
        Q(reservation__priority=own.priority) & placed_before
    )
    rows = backordered.filter(ahead, product__in=products).order_by().values("product")
    ahead_by_product = dict(rows.annotate(count=Count("id")).values_list("product", "count"))
    return {product_id: ahead_by_product.get(product_id, 0) + 1 for product_id in products}


def movements_of(source_document_id: UUID) -> list[MovementRecord]:
    """Return the movements of one source document, oldest first."""
    rows = StockMovement.objects.filter(source_document_id=source_document_id)
    rows = rows.select_related("product").order_by("id")
    return [
        MovementRecord(
            id=row.pk,
            created_at=row.created_at,
            movement_type=row.movement_type,
            sku=row.product.sku,
            on_hand=row.on_hand,
            reserved=row.reserved,
        )
        for row in rows
    ]


def reservation_ids_with_status(*statuses: str) -> set[UUID]:
    """Return the ids of the reservations with these statuses, which are sales order ids."""
    rows = Reservation.objects.filter(status__in=[ReservationStatus(each) for each in statuses])
    return set(rows.values_list("id", flat=True))


def recorded_adjustments(adjustment_ids: Collection[UUID]) -> dict[UUID, tuple[UUID, int, str]]:
    """Return product id, quantity and reason of the adjustments that are recorded, by id."""
    rows = StockMovement.objects.filter(
        movement_type=MovementType.ADJUSTED, source_document_id__in=adjustment_ids
    )
    fields = rows.values_list("source_document_id", "product", "on_hand", "reason")
    return {
        adjustment_id: (product_id, on_hand, reason)
        for adjustment_id, product_id, on_hand, reason in fields
    }


def received_quantity(receipt_id: UUID, product_id: UUID) -> int:
    """Return the quantity of a product that is recorded for a receipt, minus its reversals."""
    rows = StockMovement.objects.filter(
        Q(movement_type=MovementType.RECEIVED, source_document_id=receipt_id)
        | Q(movement_type=MovementType.REVERSED, reversed_receipt_id=receipt_id),
        product=product_id,
    )
    total: int | None = rows.aggregate(total=Sum("on_hand"))["total"]
    return total or 0


def recorded_reversal(reversal_id: UUID) -> tuple[UUID, UUID, int, str] | None:
    """Return receipt id, product id, quantity and reason of a reversal; None if not recorded."""
    row = StockMovement.objects.filter(
        movement_type=MovementType.REVERSED, source_document_id=reversal_id
    ).first()
    if row is None or row.reversed_receipt_id is None:
        return None
    return row.reversed_receipt_id, row.product_id, -row.on_hand, row.reason


def shortages() -> Iterator[tuple[UUID, UUID, int]]:
    """Yield reservation id, product id and shortage of every backordered line."""
    rows = ReservationLine.objects.backordered().order_by()
    shortage = F("quantity") - F("reserved")
    yield from rows.values_list("reservation", "product", shortage).iterator()


def requested_lines() -> Iterator[tuple[UUID, UUID, int, int]]:
    """Yield reservation id, product id, quantity and revision, except of released ones."""
    rows = ReservationLine.objects.exclude(
        reservation__status=ReservationStatus.RELEASED
    ).order_by()
    yield from rows.values_list(
        "reservation", "product", "quantity", "reservation__revision"
    ).iterator()


def received_by_product() -> dict[UUID, int]:
    """Return the received quantities minus the reversed ones, by product id."""
    rows = StockMovement.objects.filter(
        movement_type__in=[MovementType.RECEIVED, MovementType.REVERSED]
    )
    totals = rows.values("product").annotate(total=Sum("on_hand"))
    return dict(totals.values_list("product", "total"))


def invariant_checks() -> Iterator[InvariantCheck]:
    """Check the invariants within Stock."""
    yield from _stock_level_checks()
    yield from _reservation_checks()


def _stock_level_checks() -> Iterator[InvariantCheck]:
    stock_levels = StockLevel.objects.select_related("product")
    yield check_invariant(
        "0 <= reserved <= on hand",
        _stock_level_texts(stock_levels.filter(Q(reserved__lt=0) | Q(reserved__gt=F("on_hand")))),
    )
    reserved = _sum_of(
        ReservationLine.objects.filter(reservation__status__in=_RESERVING), "reserved"
    )
    yield check_invariant(
        "reserved equals the sum of the reservations",
        _stock_level_texts(stock_levels.annotate(total=reserved).exclude(reserved=F("total"))),
    )
    for field in ("on_hand", "reserved"):
        total = _sum_of(StockMovement.objects.all(), field)
        different = stock_levels.annotate(total=total).exclude(**{field: F("total")})
        yield check_invariant(
            f"{field.replace('_', ' ')} equals the sum of the stock ledger",
            _stock_level_texts(different),
        )


def _reservation_checks() -> Iterator[InvariantCheck]:
    lines = ReservationLine.objects.select_related("reservation", "product")
    short = lines.filter(reserved__lt=F("quantity"))
    yield check_invariant(
        "accepted reservations are fully reserved",
        _line_texts(short.filter(reservation__status__in=_FULLY_RESERVED)),
    )
    yield check_invariant(
        "released reservations have no reserved stock",
        _line_texts(lines.filter(reservation__status=ReservationStatus.RELEASED, reserved__gt=0)),
    )
    backordered = short.filter(reservation__status=ReservationStatus.BACKORDERED)
    available = F("product__stock_level__on_hand") - F("product__stock_level__reserved")
    yield check_invariant(
        "no backorder could be filled from available stock",
        _line_texts(backordered.filter(quantity__lte=F("reserved") + available)),
    )
    yield check_invariant(
        "every backordered reservation has a shortage",
        Reservation.objects.backordered().exclude(id__in=backordered.values("reservation")),
    )


def _sum_of(rows: QuerySet[ReservationLine] | QuerySet[StockMovement], field: str) -> Coalesce:
    """Return the sum of a field over the rows of a stock level's product."""
    of_product = rows.filter(product=OuterRef("product")).order_by().values("product")
    return Coalesce(Subquery(of_product.annotate(total=Sum(field)).values("total")), 0)


def _stock_level_texts(stock_levels: QuerySet[StockLevel]) -> Iterator[str]:
    return (f"{row.product.sku}: {row}" for row in stock_levels)


def _line_texts(lines: QuerySet[ReservationLine]) -> Iterator[str]:
    return (f"{line.reservation}: {line}" for line in lines)
