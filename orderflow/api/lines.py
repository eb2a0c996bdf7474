"""Products and quantities as they come in and go out: by SKU."""

from collections.abc import Iterable
from typing import Any, TypedDict

from rest_framework import serializers

from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from orderflow.catalog.services import product_ids


class LineInput(serializers.Serializer[Any]):
    sku = serializers.CharField(max_length=100)
    quantity = serializers.IntegerField(min_value=1, max_value=LARGEST_QUANTITY)


class Line(TypedDict):
    sku: str
    quantity: int


def product_quantities(lines: Iterable[Line]) -> list[ProductQuantity]:
    """Raises `UnknownProducts`."""
    lines = list(lines)
    ids = product_ids(line["sku"] for line in lines)
    return [ProductQuantity(product_id=ids[line["sku"]], quantity=line["quantity"]) for line in lines]
