"""Links from page to page, and columns that consist of them."""

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

Column = Callable[[Any, Any], str]  # a method of an admin: what it shows of a row

_pages_of_ids: dict[str, str] = {}


def page_name(label: str, view: str) -> str:
    """`page_name("stock.reservation", "changelist")`: what `reverse()` wants to be told."""
    return f"admin:{label.replace('.', '_')}_{view}"


def page_link(label: str, pk: object, text: object = "") -> SafeString:
    """A link to the page of one object: `page_link("stock.reservation", order.id)`."""
    return _link(reverse(page_name(label, "change"), args=[quote(str(pk))]), text or pk)


def list_link(label: str, text: object, **where: object) -> SafeString:
    """A link to the list of those where these fields have these values."""
    return _link(reverse(page_name(label, "changelist"), query=where), text)


def add_link(label: str, text: object, **given: object) -> SafeString:
    """A link to the "add" page, with these fields filled in."""
    return _link(reverse(page_name(label, "add"), query=given), text)


def side_by_side(links: Sequence[SafeString]) -> SafeString:
    return format_html_join(" · ", "{}", ((link,) for link in links))


def one_below_the_other(lines: Iterable[object]) -> SafeString:
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines))


def linked(path: str, *, to: str = "", title: str = "") -> Column:
    """A column that links to the object which a foreign key points to or, with `to`, to the page whose id a field holds."""

    @admin.display(description=title or path.split("__")[-1].removesuffix("_id").replace("_", " "), ordering=path)
    def column(self: Any, row: Any) -> str:
        value = _value(row, path)
        if value is None:
            return str(self.get_empty_value_display())
        return page_link(to, value) if to else page_link(value._meta.label_lower, value.pk, value)

    return column


def where_true(path: str) -> Column:
    """A column that says yes where a field is true. Django's icon for no is an alarm, also where no is good news."""

    @admin.display(description=path.split("__")[-1].replace("_", " "), ordering=path)
    def column(self: Any, row: Any) -> str:
        return "yes" if _value(row, path) else str(self.get_empty_value_display())

    return column


def to_the_second(path: str) -> Column:
    """A column with a time as `moment` shows it."""

    @admin.display(description=path.replace("_", " "), ordering=path)
    def column(self: Any, row: Any) -> str:
        return format_html('<span class="nowrap">{}</span>', moment(_value(row, path)))

    return column


def moment(at: datetime) -> str:
    """A time in more detail than Django shows it: most of what happens here takes less than a minute."""
    return f"{localtime(at):%Y-%m-%d %H:%M:%S}"


def ids_called(name: str, *, have_page: str) -> None:
    """Messages name things by id; whoever owns them says where their pages are, for `payload_with_links`."""
    _pages_of_ids[name] = have_page


def payload_with_links(payload: object) -> SafeString:
    """JSON to read, with each id that has a page linked to it."""
    lines = json.dumps(payload, indent=2, ensure_ascii=False).splitlines()
    return format_html("<pre>{}</pre>", format_html_join("\n", "{}", ((_line_with_link(line),) for line in lines)))


def _line_with_link(line: str) -> SafeString | str:
    found = re.fullmatch(r'(\s*"(\w+)": ")([0-9a-f-]{36})(",?)', line)
    if found is None or found[2] not in _pages_of_ids:
        return line
    return format_html("{}{}{}", found[1], page_link(_pages_of_ids[found[2]], found[3]), found[4])


def _value(row: object, path: str) -> Any:
    return reduce(getattr, path.split("__"), row)


def _link(url: str, text: object) -> SafeString:
    if isinstance(text, uuid.UUID):  # lists are too narrow for them
        return format_html('<a href="{}" title="{}">{}…</a>', url, text, str(text)[:8])
    return format_html('<a href="{}">{}</a>', url, text)
