"""Serializers of request bodies."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from orderflow.api.fields import QuantityField, SkuField, StrictCharField
from orderflow.core.reasons import MAX_REASON_LENGTH


# No docstring: the schema would show it as the description of every subclass without one.
# Unknown fields are rejected, so that a misspelled name is never silently ignored.
class StrictSerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError(
                {
                    name: serializers.ErrorDetail(
                        "Unknown field. Check its spelling, or remove it.", code="unknown"
                    )
                    for name in sorted(map(str, unknown))
                }
            )
        return super().to_internal_value(data)


class LineCreate(StrictSerializer):
    """One product and its quantity."""

    sku = SkuField()
    quantity = QuantityField()


class LineListField(serializers.ListSerializer[Any]):
    """Lines by SKU. Lines of the same product are added up."""

    def __init__(self, *, allow_empty: bool = False, **kwargs: Any) -> None:
        super().__init__(child=LineCreate(), allow_empty=allow_empty, **kwargs)


class Decision(StrictSerializer):
    """A decision, with an optional reason."""

    reason = StrictCharField(
        max_length=MAX_REASON_LENGTH,
        default="",
        allow_blank=True,
        help_text="Stored in the history.",
    )
