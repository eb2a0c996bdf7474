"""What can be done with products."""

import uuid
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.refusals import Conflict, Refused

MOST_NAMED = 10  # SKUs in one sentence


class UnknownProducts(Refused):
    """There is no product with this SKU."""

    code = "unknown_sku"

    def __init__(self, skus: Iterable[str]) -> None:
        unknown = sorted(skus)
        more = f" and {len(unknown) - MOST_NAMED:,} more" if len(unknown) > MOST_NAMED else ""
        super().__init__(f"No product has the SKU {', '.join(unknown[:MOST_NAMED])}{more}. Create the product first.")


class SkuTaken(Conflict):
    """Another product has this SKU."""

    code = "sku_taken"

    def __init__(self, sku: str) -> None:
        super().__init__(f"There is another product with the SKU {sku}. Nothing was created: choose a different one.")


class ProductTaken(Conflict):
    """The id belongs to another product."""

    code = "product_taken"

    def __init__(self, product_id: UUID) -> None:
        super().__init__(f"There is another product with the id {product_id}. Nothing was created: choose a different one.")


def create_products(names: Mapping[str, str]) -> list[Product]:
    """Create a product for each SKU that is new, with its name; those that exist stay as they are. Returns the new ones."""
    with transaction.atomic():
        known = product_ids(names, unknown_ok=True)
        new = [Product(sku=sku, name=names[sku]) for sku in sorted(names) if sku not in known]  # inserts wait for each other
        Product.objects.bulk_create(new, ignore_conflicts=True)
        return list(Product.objects.filter(id__in=[product.id for product in new]))  # somebody may have been faster


def create_product(sku: str, name: str, *, product_id: UUID | None = None) -> Product:
    """The same id with the same content is the same product. Raises `SkuTaken`, `ProductTaken`."""
    new = Product(id=product_id or uuid.uuid4(), sku=sku, name=name)
    with transaction.atomic():
        Product.objects.bulk_create([new], ignore_conflicts=True)
        there = Product.objects.filter(id=new.id).first()
    if there is None:
        raise SkuTaken(sku)
    if (there.sku, there.name) != (sku, name):
        raise ProductTaken(new.id)
    return there


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
