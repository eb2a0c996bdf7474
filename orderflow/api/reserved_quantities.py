"""Reserved quantities of sales orders: provided by one context, shown by another.

Neither needs to know the other: `operations` registers the provider.
"""

from collections.abc import Callable, Collection, Mapping
from uuid import UUID

ReservedQuantities = Mapping[tuple[UUID, UUID], int]  # by sales order and product

_providers: list[Callable[[Collection[UUID]], ReservedQuantities]] = []


def register_reserved_provider(
    provider: Callable[[Collection[UUID]], ReservedQuantities],
) -> None:
    """Set the function that returns the reserved quantities of sales orders."""
    _providers[:] = [provider]


def reserved_for(sales_order_ids: Collection[UUID]) -> ReservedQuantities:
    """Return the reserved quantities, unchanged after shipping; a missing pair means 0."""
    [provider] = _providers
    return provider(sales_order_ids)
