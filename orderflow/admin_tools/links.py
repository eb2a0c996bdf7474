"""Links between admin pages, and columns that consist of links.

`model` is always a label such as "stock.reservation".
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

Column = Callable[[Any, Any], str]  # a method of an admin class: returns the text for a row

_models_by_id_name: dict[str, str] = {}


def page_name(model: str, view: str) -> str:
    """Return a name for `reverse()`: `page_name("stock.reservation", "changelist")`."""
    return f"admin:{model.replace('.', '_')}_{view}"


def page_link(model: str, pk: object, text: object = "") -> SafeString:
    """Return a link to the page of one object: `page_link("stock.reservation", order.id)`."""
    return _link(reverse(page_name(model, "change"), args=[quote(str(pk))]), text or pk)


def list_link(model: str, text: object, **filters: object) -> SafeString:
    """Return a link to a list, filtered by field values."""
    return _link(reverse(page_name(model, "changelist"), query=filters), text)


def add_link(model: str, text: object, **initial: object) -> SafeString:
    """Return a link to the "add" page, with initial field values."""
    return _link(reverse(page_name(model, "add"), query=initial), text)


def inline_list(links: Sequence[SafeString]) -> SafeString:
    return format_html_join(" · ", "{}", ((link,) for link in links))


def stacked_list(lines: Iterable[object]) -> SafeString:
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines))


def link_column(path: str, *, model: str = "", title: str = "") -> Column:
    """Return a column that links to the object of a foreign key.

    With `model`, the field holds the id of an object of that model.
    """

    @admin.display(description=title or _title(path).removesuffix(" id"), ordering=path)
    def column(self: Any, row: Any) -> str:
        value = _value(row, path)
        if value is None:
            return str(self.get_empty_value_display())
        if model:
            return page_link(model, value)
        return page_link(value._meta.label_lower, value.pk, value)

    return column


def flag_column(path: str) -> Column:
    """Return a column that shows "yes" for true, and the empty value for false.

    Django shows a red icon for false, which is wrong for flags such as "overdue".
    """

    @admin.display(description=_title(path), ordering=path)
    def column(self: Any, row: Any) -> str:
        return "yes" if _value(row, path) else str(self.get_empty_value_display())

    return column


def time_column(path: str) -> Column:
    """Return a column with a time in the format of `format_time`."""

    @admin.display(description=_title(path), ordering=path)
    def column(self: Any, row: Any) -> str:
        return format_html('<span class="nowrap">{}</span>', format_time(_value(row, path)))

    return column


def format_time(time: datetime) -> str:
    """Return local date and time with seconds, which Django's own format omits."""
    return f"{localtime(time):%Y-%m-%d %H:%M:%S}"


def register_id_link(name: str, *, model: str) -> None:
    """Register the model of an id in messages, for `payload_with_links`.

    Filled at import time, by the `admin` module that owns the model.
    """
    _models_by_id_name[name] = model


def payload_with_links(payload: object) -> SafeString:
    """Return formatted JSON; registered ids are links to their pages."""
    lines = json.dumps(payload, indent=2, ensure_ascii=False).splitlines()
    return format_html(
        "<pre>{}</pre>", format_html_join("\n", "{}", ((_line_with_link(line),) for line in lines))
    )


def _line_with_link(line: str) -> SafeString | str:
    match = re.fullmatch(r'(\s*"(\w+)": ")([0-9a-f-]{36})(",?)', line)
    if match is None or match[2] not in _models_by_id_name:
        return line
    return format_html(
        "{}{}{}", match[1], page_link(_models_by_id_name[match[2]], match[3]), match[4]
    )


def _title(path: str) -> str:
    return path.split("__")[-1].replace("_", " ")


def _value(row: object, path: str) -> Any:
    return reduce(getattr, path.split("__"), row)


def _link(url: str, text: object) -> SafeString:
    if isinstance(text, uuid.UUID):  # shortened: lists are too narrow for a complete id
        return format_html('<a href="{}" title="{}">{}…</a>', url, text, str(text)[:8])
    return format_html('<a href="{}">{}</a>', url, text)
