"""How much of an order's lines is reserved, for whoever shows orders. Neither who knows nor who asks need know the other."""

from collections.abc import Callable, Collection, Mapping
from uuid import UUID

Held = Mapping[tuple[UUID, UUID], int]  # by sales order and product

_tellers: list[Callable[[Collection[UUID]], Held]] = []


def reserved_is_told_by(teller: Callable[[Collection[UUID]], Held]) -> None:
    """Say, once and for all, who knows what is reserved for these sales orders."""
    _tellers[:] = [teller]


def reserved_for(sales_order_ids: Collection[UUID]) -> Held:
    """What is reserved, or was until it was shipped, for these sales orders; what is not named is nothing."""
    [teller] = _tellers
    return teller(sales_order_ids)
