"""Makes most of what Schemathesis makes up get further than to "no such product"; loaded by it, not by pytest."""

from typing import Any
from urllib.parse import urlencode

import schemathesis

SKUS = ("CHAIR", "DESK")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return _with_known_skus(body)


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    """What is longer than a line of HTTP may be, the web server refuses, before Orderflow is asked."""
    return len(urlencode(query or {}, doseq=True)) < 3000


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if case.query and str(case.query.get("wait", "")).isdecimal():
        case.query["wait"] = 0  # nobody will make an event happen


def _with_known_skus(body: Any) -> Any:
    match body:
        case dict():
            known = {name: _with_known_skus(value) for name, value in body.items()}
            if isinstance(body.get("sku"), str) and body["sku"].strip() and "name" not in body:
                known["sku"] = SKUS[len(body["sku"]) % 2]
            return known
        case list():
            return [_with_known_skus(each) for each in body]
    return body
