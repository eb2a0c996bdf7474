"""What can be done with products."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.refusals import Refused


class UnknownProducts(Refused):
    code = "unknown_sku"

    def __init__(self, skus: Iterable[str]) -> None:
        super().__init__(f"No product has the SKU {', '.join(sorted(skus))}. Create the product first.")


def create_products(names: Mapping[str, str]) -> int:
    """Create a product for each SKU that is new, with its name; those that exist stay as they are. Returns how many were new."""
    with transaction.atomic():
        known = product_ids(names, unknown_ok=True)
        new = [Product(sku=sku, name=name) for sku, name in names.items() if sku not in known]
        Product.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def product_ids(skus: Iterable[str], *, unknown_ok: bool = False) -> dict[str, UUID]:
    """The products' ids by SKU. Raises `UnknownProducts`, unless they are simply to be left out."""
    wanted = set(skus)
    found = dict(Product.objects.filter(sku__in=wanted).values_list("sku", "id"))
    if wanted - found.keys() and not unknown_ok:
        raise UnknownProducts(wanted - found.keys())
    return found


def skus(product_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The products' SKUs by id."""
    return dict(Product.objects.filter(id__in=set(product_ids)).values_list("id", "sku"))
