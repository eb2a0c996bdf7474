"""Balances being changed in one transaction, each change with its row in the ledger."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.utils import timezone

from orderflow.database import save_rows
from orderflow.reasons import checked_reason
from orderflow.refusals import Conflict
from stock.models import Balance, Movement, StockMovement


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
    """More is to be taken off the shelf than lies there unpromised."""

    code = "not_enough_available"

    def __init__(self, balance: Balance, quantity: int) -> None:
        cure = "Deliver what is promised first." if balance.reserved else "Count again, or correct the quantity."
        super().__init__(
            f"{-quantity:,} cannot be taken away: of {balance.on_hand:,} on hand {balance.reserved:,} are promised, so "
            f"{balance.available:,} can. {cure}"
        )


class GoodsPromisedOrGone(Conflict):
    """What is to be reversed is promised to somebody, or was shipped."""

    code = "goods_promised_or_gone"

    def __init__(self, balance: Balance, quantity: int) -> None:
        cancel = "Cancel or change a sales order that they are promised to, and reverse then. "
        promised = cancel if balance.reserved else ""
        super().__init__(
            f"{quantity:,} cannot be reversed: of {balance.on_hand:,} on hand {balance.reserved:,} are promised, so "
            f"{balance.available:,} can. {promised}What has left the shelf is no receipt's mistake any more: count the shelf, "
            "and book a stock adjustment."
        )


class Ledger:
    """The balances of these products, locked by product. `cause`: the message that a change follows from; `by`: the person."""

    def __init__(self, products: Collection[UUID], *, by: str = "") -> None:
        self.cause: int | None = None
        self.by = by
        self.now = timezone.now()
        self._balances = _lock_balances(products)
        self._movements: list[StockMovement] = []

    def available(self, product_id: UUID) -> int:
        return self._balances[product_id].available

    def receive(self, product_id: UUID, quantity: int, *, receipt_id: UUID) -> None:
        self._balances[product_id].change(quantity)
        self._note(Movement.RECEIVED, product_id, on_hand=quantity, document=receipt_id)

    def adjust(self, adjustment: Adjustment) -> None:
        """Raises `NotEnoughAvailable`, `ReasonTooLong`."""
        balance = self._balances[adjustment.product_id]
        if balance.available + adjustment.quantity < 0:
            raise NotEnoughAvailable(balance, adjustment.quantity)
        balance.change(adjustment.quantity)
        self._note(
            Movement.ADJUSTED,
            adjustment.product_id,
            on_hand=adjustment.quantity,
            document=adjustment.id,
            reason=checked_reason(adjustment.reason),
        )

    def reverse(self, reversal: Reversal) -> None:
        """Raises `GoodsPromisedOrGone`, `ReasonTooLong`."""
        balance = self._balances[reversal.product_id]
        if balance.available < reversal.quantity:
            raise GoodsPromisedOrGone(balance, reversal.quantity)
        balance.change(-reversal.quantity)
        self._note(
            Movement.REVERSED,
            reversal.product_id,
            on_hand=-reversal.quantity,
            document=reversal.id,
            corrects=reversal.receipt_id,
            reason=checked_reason(reversal.reason),
        )

    def promise(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._balances[product_id].promise(quantity)
        self._note(Movement.PROMISED, product_id, reserved=quantity, document=reservation_id)

    def release(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._balances[product_id].release(quantity)
        self._note(Movement.RELEASED, product_id, reserved=-quantity, document=reservation_id)

    def ship(self, product_id: UUID, quantity: int, *, reservation_id: UUID) -> None:
        self._balances[product_id].ship(quantity)
        self._note(Movement.SHIPPED, product_id, on_hand=-quantity, reserved=-quantity, document=reservation_id)

    def save(self) -> None:
        moved = {movement.product_id for movement in self._movements}
        save_rows([balance for balance in self._balances.values() if balance.product_id in moved], ["on_hand", "reserved"])
        StockMovement.objects.bulk_create(self._movements)

    def _note(
        self,
        kind: Movement,
        product_id: UUID,
        *,
        document: UUID,
        on_hand: int = 0,
        reserved: int = 0,
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
                by=self.by,
                at=self.now,
            )
        )


def _lock_balances(products: Collection[UUID]) -> dict[UUID, Balance]:
    """The balances of these products, locked by product; those that nobody asked for before begin at zero."""
    known = set(Balance.objects.filter(product__in=products).values_list("product_id", flat=True))
    missing = sorted(set(products) - known)
    Balance.objects.bulk_create([Balance(product_id=each) for each in missing], ignore_conflicts=True)
    return {balance.product_id: balance for balance in Balance.objects.filter(product__in=products).locked()}
