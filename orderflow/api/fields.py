"""Fields that take exactly what the schema says: a number is no text, and "5" is no number.

Whoever sends the wrong type has a mistake somewhere, and should hear of it before it costs something.
"""

import re
import uuid
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from orderflow.catalog.quantities import LARGEST_QUANTITY
from orderflow.reasons import REASON_LENGTH

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_SOMETHING = r"[^\s\x1c-\x1f\x85]"  # what JavaScript, whose expressions a schema speaks, does not count as blank, Python does
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Text(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Words(Text):
    """A text that says something: blanks are nothing. The validator is for the schema, which would else know of "" only."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators=[RegexValidator(_SOMETHING, "It is blank.", code="blank")], **kwargs)


class Sku(Words):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, **kwargs)


class Whole(serializers.IntegerField):
    default_error_messages = {"invalid": "A whole number is wanted, without quotes."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Yes(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Quantity(Whole):
    def __init__(self, *, min_value: int = 1, **kwargs: Any) -> None:
        super().__init__(min_value=min_value, max_value=LARGEST_QUANTITY, **kwargs)


class Id(serializers.UUIDField):
    """Whoever supplies it may send the same again, and it is made once."""

    def __init__(self, **kwargs: Any) -> None:
        if "required" not in kwargs:
            kwargs.setdefault("default", uuid.uuid4)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not _UUID.fullmatch(data):
            self.fail("invalid", value=data)
        return uuid.UUID(data)


class Moment(serializers.DateTimeField):
    default_error_messages = {"invalid": "A date and time with an offset is wanted, such as 2031-05-17T09:30:00Z."}

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            self.fail("invalid")
        return super().to_internal_value(value)


class Reason(Words):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=REASON_LENGTH, help_text="It is kept in the history.", **kwargs)
