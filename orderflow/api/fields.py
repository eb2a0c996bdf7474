"""Request fields that accept exactly what the schema says: "5" is not a number, 5 is not a text.

A client that sends the wrong type has a bug; an early error shows it.
"""

import re
import uuid
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from orderflow.core.quantities import MAX_QUANTITY
from orderflow.core.reasons import MAX_REASON_LENGTH

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
# The schema's patterns are JavaScript expressions. Python counts more characters as blank than
# JavaScript does; these are the additional ones.
_NON_BLANK = r"[^\s\x1c-\x1f\x85]"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class StrictCharField(serializers.CharField):
    """A text. `max_length` limits what is sent, including the blanks at its ends."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class NonBlankCharField(StrictCharField):
    """A text with at least one visible character.

    The validator puts the pattern into the schema, which would otherwise reject only "".
    """

    def __init__(self, **kwargs: Any) -> None:
        validator = RegexValidator(_NON_BLANK, "This field must not be blank.", code="blank")
        super().__init__(validators=[validator], **kwargs)


class SkuField(NonBlankCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, **kwargs)


class StrictIntegerField(serializers.IntegerField):
    default_error_messages = {"invalid": "This field must be a whole number, without quotes."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class QuantityField(StrictIntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_QUANTITY, **kwargs)


class AdjustmentQuantityField(StrictIntegerField):
    """A positive or negative quantity; 0 is rejected."""

    default_error_messages = {"zero": "This field must not be 0."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=-MAX_QUANTITY, max_value=MAX_QUANTITY, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        quantity = super().to_internal_value(data)
        if quantity == 0:
            self.fail("zero")
        return quantity


class ClientIdField(serializers.UUIDField):
    """An id that the client may supply, so that repeating the request is safe."""

    def __init__(self, **kwargs: Any) -> None:
        if "required" not in kwargs:
            kwargs.setdefault("default", uuid.uuid4)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not _UUID.fullmatch(data):
            self.fail("invalid", value=data)
        return uuid.UUID(data)


class StrictDateTimeField(serializers.DateTimeField):
    default_error_messages = {
        "invalid": "This field must be a date and time with an offset, such as "
        "2031-05-17T09:30:00Z."
    }

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            self.fail("invalid")
        return super().to_internal_value(value)


class ReasonField(NonBlankCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=MAX_REASON_LENGTH, help_text="Stored in the history.", **kwargs
        )
