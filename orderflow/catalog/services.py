"""Create products, and look them up by SKU or id."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict
from uuid import UUID

from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.core.errors import ConflictError, DomainError
from orderflow.core.quantities import ProductQuantity

MAX_SKUS_SHOWN = 10  # in one error text


class SkuLine(TypedDict):
    """A line whose product is given by SKU."""

    sku: str
    quantity: int


class UnknownSku(DomainError):
    """No product has this SKU."""

    code = "unknown_sku"

    def __init__(self, skus: Iterable[str]) -> None:
        unknown = sorted(skus)
        hidden = len(unknown) - MAX_SKUS_SHOWN
        more = f" and {hidden:,} more" if hidden > 0 else ""
        super().__init__(
            f"No product has the SKU {', '.join(unknown[:MAX_SKUS_SHOWN])}{more}. "
            "Create the product first. No changes were made."
        )


class SkuAlreadyExists(ConflictError):
    """Another product has this SKU."""

    code = "sku_already_exists"

    def __init__(self, sku: str) -> None:
        super().__init__(
            f"Another product has the SKU {sku}. Choose a different SKU. No changes were made."
        )


class ProductAlreadyExists(ConflictError):
    """Another product has this id."""

    code = "product_already_exists"

    def __init__(self, product_id: UUID) -> None:
        super().__init__(
            f"Another product has the id {product_id}. Choose a different id. "
            "No changes were made."
        )


def create_products(names: Mapping[str, str], *, actor: str = "") -> list[Product]:
    """Create a product for each SKU that does not exist, with its name; return the new ones."""
    with transaction.atomic():
        existing = product_ids(names, unknown_ok=True)
        # In the order of the SKUs: concurrent inserts of the same ones cannot deadlock.
        new = [
            Product(sku=sku, name=names[sku], actor=actor)
            for sku in sorted(names)
            if sku not in existing
        ]
        Product.objects.bulk_create(new, ignore_conflicts=True)
        # Without those that a concurrent transaction inserted first.
        return list(Product.objects.filter(id__in=[product.id for product in new]))


def create_product(
    sku: str, name: str, *, product_id: UUID | None = None, actor: str = ""
) -> Product:
    """Create a product and return it; an existing id with the same content is not changed.

    Raises: `SkuAlreadyExists`, `ProductAlreadyExists`.
    """
    new = Product(id=product_id or uuid.uuid4(), sku=sku, name=name, actor=actor)
    with transaction.atomic():
        Product.objects.bulk_create([new], ignore_conflicts=True)
        stored = Product.objects.filter(id=new.id).first()
    if stored is None:
        raise SkuAlreadyExists(sku)
    if (stored.sku, stored.name) != (sku, name):
        raise ProductAlreadyExists(new.id)
    return stored


def product_ids(skus: Iterable[str], *, unknown_ok: bool = False) -> dict[str, UUID]:
    """Return the ids of products by SKU. Raises: `UnknownSku`, unless `unknown_ok`."""
    requested = set(skus)
    found = dict(Product.objects.filter(sku__in=requested).values_list("sku", "id"))
    if requested - found.keys() and not unknown_ok:
        raise UnknownSku(requested - found.keys())
    return found


def product_quantities(
    lines: Sequence[SkuLine], ids: Mapping[str, UUID] | None = None
) -> list[ProductQuantity]:
    """Return the lines with product ids instead of SKUs. Raises: `UnknownSku`.

    `ids`: product ids by SKU, if they were looked up before for many orders at once.
    """
    skus = {line["sku"] for line in lines}
    if ids is None:
        ids = product_ids(skus)
    if unknown := skus - ids.keys():
        raise UnknownSku(unknown)
    return [
        ProductQuantity(product_id=ids[line["sku"]], quantity=line["quantity"]) for line in lines
    ]


def skus(product_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the SKUs of products by id."""
    return dict(Product.objects.filter(id__in=set(product_ids)).values_list("id", "sku"))
