"""What comes in with many requests: products and quantities, by SKU, and reasons."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from rest_framework import serializers
from rest_framework.request import Request

from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from orderflow.catalog.services import product_ids
from orderflow.reasons import REASON_LENGTH


class Input(serializers.Serializer[Any]):
    """What comes in has no fields that nobody knows: a name that was mistyped must not mean "not given"."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError({name: ["There is no such field."] for name in sorted(map(str, unknown))})
        return super().to_internal_value(data)


class LineInput(Input):
    sku = serializers.CharField(max_length=100)
    quantity = serializers.IntegerField(min_value=1, max_value=LARGEST_QUANTITY)


class Reason(Input):
    reason = serializers.CharField(max_length=REASON_LENGTH, default="", allow_blank=True, help_text="It is kept in the history.")


class Line(TypedDict):
    sku: str
    quantity: int


def product_quantities(lines: Iterable[Line]) -> list[ProductQuantity]:
    """Raises `UnknownProducts`."""
    lines = list(lines)
    ids = product_ids(line["sku"] for line in lines)
    return [ProductQuantity(product_id=ids[line["sku"]], quantity=line["quantity"]) for line in lines]


def given_reason(request: Request) -> str:
    """The reason in a request that consists of nothing else. Raises DRF's `ValidationError`."""
    asked = Reason(data=request.data)
    asked.is_valid(raise_exception=True)
    reason: str = asked.validated_data["reason"]
    return reason
