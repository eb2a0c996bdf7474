import logging
import os
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orderflow.api.answers import problem_code
from orderflow.management.processes import terminated_like_interrupted

ABOUT_ARRIVALS = ("purchase.GoodsReceived", "purchase.PurchaseOrderCancelled", "purchase.PurchaseOrderClosedShort")
WAIT = 20  # seconds that the other side may wait for an event before it answers that there is none
TIMEOUTS = (3.05, WAIT + 10)
NOT_THEIRS = "no_such_purchase_order"  # it is of somebody else
PAUSE = 2.0  # seconds until what could not be reached is tried again

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = """Tells one Orderflow what another, which keeps its purchase orders, has received: follows the events there, and posts
    each receipt here. It remembers how far it is in a file; killed at any moment, it goes on where it was, and tells nothing
    twice to any effect. The tokens come from the environment: ORDERFLOW_RELAY_FROM_TOKEN (of a user there who may view feed
    entries) and ORDERFLOW_RELAY_TO_TOKEN (of a user here who may add remote receipts)."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="source", metavar="URL", required=True, help="the Orderflow that receives the goods")
        parser.add_argument("--to", dest="target", metavar="URL", required=True, help="the Orderflow that is to know of it")
        parser.add_argument("--state", metavar="FILE", type=Path, help="where it remembers how far it is; by default in var/")

    def handle(self, *args: Any, source: str, target: str, state: Path | None, **options: Any) -> None:
        there = _session(source, "ORDERFLOW_RELAY_FROM_TOKEN")
        here = _session(target, "ORDERFLOW_RELAY_TO_TOKEN")
        try:
            with terminated_like_interrupted():
                _relay(there, here, state or Path(settings.VAR) / f"relay-{_in_a_file_name(source)}-{_in_a_file_name(target)}")
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")


class _Session:
    """One of the two sides: asked again and again, until it answers."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url.rstrip('/')}/api/"
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Token {token}"

    def ask(self, method: str, path: str, *, refusals: Collection[int] = (), **what: Any) -> requests.Response:
        """A success, or a problem with one of these statuses. Anything else passes, or has to be mended: it is tried again."""
        while True:
            try:
                answer = self._http.request(method, self._url + path, timeout=TIMEOUTS, allow_redirects=False, **what)
            except requests.RequestException as error:
                logger.warning("%s cannot be reached: %s", self._url, error)
            else:
                if 200 <= answer.status_code < 300 or (answer.status_code in refusals and problem_code(answer)):
                    return answer
                logger.error("%s answered %d: %s", answer.url, answer.status_code, answer.text[:500])
            time.sleep(PAUSE)


def _session(url: str, variable: str) -> _Session:
    token = os.environ.get(variable)
    if not token:
        raise CommandError(f"{variable} is not set: the token for {url}. manage.py drf_create_token makes one.")
    return _Session(url, token)


def _relay(there: _Session, here: _Session, state: Path) -> NoReturn:
    """Tell page by page. What was refused is told again with each page, and holds up nothing else.

    How far it is, is remembered after it was told: at worst that is told again, and counts once.
    """
    after = int(state.read_text()) if state.exists() else 0
    refused: list[dict[str, Any]] = []
    while True:
        wait = PAUSE if refused else WAIT
        page = there.ask("GET", "events/", params={"after": after, "type": ABOUT_ARRIVALS, "wait": int(wait)}).json()
        after = page["last"]
        refused = [event for event in [*refused, *page["results"]] if not _tell(here, event)]
        _remember(state, min((event["position"] - 1 for event in refused), default=after))


def _tell(here: _Session, event: dict[str, Any]) -> bool:
    """Whether it is done with: told, or none of their business."""
    answer = here.ask("POST", "purchase/remote-receipts/", refusals=(400, 404, 409, 422), json=_report(event))
    what = f"{event['type']} of purchase order {event['about']}"
    if answer.ok:
        logger.info("Told: %s", what)
    elif problem_code(answer) != NOT_THEIRS:
        logger.error("Refused, and told again until it is not: %s (event %d): %s", what, event["position"], answer.text[:500])
        return False
    return True


def _report(event: dict[str, Any]) -> dict[str, Any]:
    data = event["data"]
    closed = event["type"] != "purchase.GoodsReceived"
    return {
        "purchase_order_id": data["purchase_order_id"],
        "number": data["number"],
        "id": data["purchase_order_id"] if closed else data["receipt_id"],
        "lines": [] if closed else list(_lines(data["lines"])),
        "complete": closed or data["complete"],
    }


def _lines(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in lines:
        yield {"sku": line["sku"], "quantity": line["quantity"]}


def _in_a_file_name(url: str) -> str:
    return re.sub(r"[^0-9A-Za-z.]+", "-", url.split("://")[-1]).strip("-")


def _remember(state: Path, position: int) -> None:
    unfinished = state.with_name(f"{state.name}.unfinished")
    with unfinished.open("w") as file:
        file.write(str(position))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(state)
