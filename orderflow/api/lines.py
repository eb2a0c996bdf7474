"""What comes in with many requests: products and quantities, by SKU, and reasons."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from uuid import UUID

from rest_framework import serializers

from orderflow.api.fields import Quantity, Sku, Text
from orderflow.catalog.quantities import ProductQuantity
from orderflow.catalog.services import UnknownProducts, product_ids
from orderflow.reasons import REASON_LENGTH


class Input(serializers.Serializer[Any]):
    """What comes in has no fields that nobody knows: a name that was mistyped must not mean "not given"."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError({name: ["There is no such field."] for name in sorted(map(str, unknown))})
        return super().to_internal_value(data)


class LineInput(Input):
    sku = Sku()
    quantity = Quantity()


class LinesInput(serializers.ListSerializer[Any]):
    """The same product twice is added up."""

    def __init__(self, *, allow_empty: bool = False, **kwargs: Any) -> None:
        super().__init__(child=LineInput(), allow_empty=allow_empty, **kwargs)


class ReasonInput(Input):
    reason = Text(max_length=REASON_LENGTH, default="", allow_blank=True, help_text="It is kept in the history.")


class Line(TypedDict):
    sku: str
    quantity: int


def product_quantities(lines: Sequence[Line], known: Mapping[str, UUID] | None = None) -> list[ProductQuantity]:
    """`known`: the products' ids by SKU, where many orders' were looked up at once. Raises `UnknownProducts`."""
    wanted = {line["sku"] for line in lines}
    ids = product_ids(wanted) if known is None else known
    if unknown := wanted - ids.keys():
        raise UnknownProducts(unknown)
    return [ProductQuantity(product_id=ids[line["sku"]], quantity=line["quantity"]) for line in lines]
