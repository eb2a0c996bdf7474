"""The stock levels that one transaction changes, and the stock movements that record it."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.utils import timezone

from orderflow.core.database import upsert
from orderflow.core.errors import ConflictError
from orderflow.core.reasons import validate_reason
from stock.models import MovementType, StockLevel, StockMovement


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A correction of on hand. An id is recorded only once.

    `quantity`: positive adds stock, negative removes stock.
    """

    product_id: UUID
    quantity: int
    reason: str
    id: UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """A quantity that a receipt recorded by mistake. An id is recorded only once."""

    receipt_id: UUID
    product_id: UUID
    quantity: int
    reason: str
    id: UUID = field(default_factory=uuid.uuid4)


class InsufficientStock(ConflictError):
    """The quantity to remove or reverse exceeds the available quantity."""

    code = "insufficient_stock"

    def __init__(self, verb: str, level: StockLevel, quantity: int, *more_advice: str) -> None:
        sku = level.product.sku
        advice = "Reduce `quantity`."
        if level.reserved:
            advice = f"Cancel or change a sales order that reserves {sku}, or reduce `quantity`."
        cause = (
            f"Cannot {verb} {quantity:,} × {sku}: {level.on_hand:,} on hand, "
            f"{level.reserved:,} reserved, {level.available:,} available."
        )
        super().__init__(" ".join([cause, advice, *more_advice, "No changes were made."]))


class Ledger:
    """The stock levels of these products: locked once, changed in memory, saved once.

    Each change is recorded as a stock movement. `cause`: id of the message that causes the next
    changes. `actor`: the user or command that causes them. Locks: the stock levels, by product id.
    """

    def __init__(self, product_ids: Collection[UUID], *, actor: str = "") -> None:
        self.cause: int | None = None
        self.actor = actor
        self.now = timezone.now()
        self._levels = _lock_stock_levels(product_ids)
        self._movements: list[StockMovement] = []

    def available(self, product_id: UUID) -> int:
        return self._levels[product_id].available

    def receive(self, product_id: UUID, quantity: int, *, receipt_id: UUID) -> None:
        self._levels[product_id].change_on_hand(quantity)
        self._record(
            MovementType.RECEIVED, product_id, on_hand=quantity, source_document_id=receipt_id
        )

    def adjust(self, adjustment: Adjustment) -> None:
        """Raises: `InsufficientStock`, `ReasonTooLong`."""
        level = self._levels[adjustment.product_id]
        if level.available + adjustment.quantity < 0:
            raise InsufficientStock("remove", level, -adjustment.quantity)
        level.change_on_hand(adjustment.quantity)
        self._record(
            MovementType.ADJUSTED,
            adjustment.product_id,
            on_hand=adjustment.quantity,
            source_document_id=adjustment.id,
            reason=validate_reason(adjustment.reason),
        )

    def reverse(self, reversal: Reversal) -> None:
        """Raises: `InsufficientStock`, `ReasonTooLong`."""
        level = self._levels[reversal.product_id]
        if level.available < reversal.quantity:
            if_shipped = "Shipped goods cannot be reversed."
            raise InsufficientStock("reverse", level, reversal.quantity, if_shipped)
        level.change_on_hand(-reversal.quantity)
        self._record(
            MovementType.REVERSED,
            reversal.product_id,
            on_hand=-reversal.quantity,
            source_document_id=reversal.id,
            reversed_receipt_id=reversal.receipt_id,
            reason=validate_reason(reversal.reason),
        )

    def reserve(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._levels[product_id].reserve(quantity)
        self._record(
            MovementType.RESERVED, product_id, reserved=quantity, source_document_id=reservation_id
        )

    def release(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._levels[product_id].release(quantity)
        self._record(
            MovementType.RELEASED,
            product_id,
            reserved=-quantity,
            source_document_id=reservation_id,
        )

    def ship(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._levels[product_id].ship(quantity)
        self._record(
            MovementType.SHIPPED,
            product_id,
            on_hand=-quantity,
            reserved=-quantity,
            source_document_id=reservation_id,
        )

    def save(self) -> None:
        """Write the stock levels and the stock movements."""
        moved = {movement.product_id for movement in self._movements}
        changed = [level for level in self._levels.values() if level.product_id in moved]
        upsert(changed, ["on_hand", "reserved"])
        StockMovement.objects.bulk_create(self._movements)

    def _record(
        self,
        movement_type: MovementType,
        product_id: UUID,
        *,
        source_document_id: UUID,
        on_hand: int = 0,
        reserved: int = 0,
        reversed_receipt_id: UUID | None = None,
        reason: str = "",
    ) -> None:
        self._movements.append(
            StockMovement(
                movement_type=movement_type,
                product_id=product_id,
                on_hand=on_hand,
                reserved=reserved,
                source_document_id=source_document_id,
                reversed_receipt_id=reversed_receipt_id,
                reason=reason,
                message_id=self.cause,
                actor=self.actor,
                created_at=self.now,
            )
        )


def _lock_stock_levels(product_ids: Collection[UUID]) -> dict[UUID, StockLevel]:
    """Create the missing stock levels with quantity 0, then lock all of them by product id."""
    rows = StockLevel.objects.filter(product__in=product_ids)
    existing = set(rows.values_list("product_id", flat=True))
    missing = sorted(set(product_ids) - existing)
    StockLevel.objects.bulk_create(
        [StockLevel(product_id=product_id) for product_id in missing], ignore_conflicts=True
    )
    return {level.product_id: level for level in rows.all().locked()}
