import logging
import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orderflow.core.http_client import problem_code
from orderflow.operations.management.processes import sigterm_as_interrupt

EVENT_TYPES = (
    "purchase.GoodsReceived",
    "purchase.PurchaseOrderCancelled",
    "purchase.PurchaseOrderClosedShort",
)
WAIT = 20  # seconds of a long poll of the event feed
RETRY_INTERVAL = 2  # seconds
TIMEOUTS = (3.05, WAIT + 10)  # seconds to connect and to respond
NOT_IN_TARGET = "purchase_order_not_found"  # the target did not request this purchase order
PROBLEM_STATUSES = (400, 404, 409, 422)

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = """Reports the receipts of one Orderflow (source) to another one (target), which uses
    the source for external purchasing. It follows the event feed of the source until Ctrl-C, and
    stores its position in a file. If it is killed, start it again: repeated reports have no
    effect. The settings ORDERFLOW_RELAY_SOURCE_TOKEN (permission to view feed entries) and
    ORDERFLOW_RELAY_TARGET_TOKEN (permission to add external receipts) contain the tokens."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--source",
            metavar="URL",
            required=True,
            help="URL of the Orderflow that receives goods",
        )
        parser.add_argument(
            "--target", metavar="URL", required=True, help="URL of the Orderflow to report to"
        )
        parser.add_argument(
            "--position-file",
            metavar="FILE",
            type=Path,
            help="file that stores the feed position (default: a file in the data directory)",
        )

    def handle(
        self,
        *args: Any,
        source: str,
        target: str,
        position_file: Path | None,
        **options: Any,
    ) -> None:
        source_session = _session(source, "ORDERFLOW_RELAY_SOURCE_TOKEN")
        target_session = _session(target, "ORDERFLOW_RELAY_TARGET_TOKEN")
        file = position_file or _default_position_file(source, target)
        try:
            with sigterm_as_interrupt():
                _relay(source_session, target_session, file)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")


class _Session:
    """The REST endpoints of one Orderflow. Requests are repeated until there is a response."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/"
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Token {token}"

    def request(
        self, method: str, path: str, *, problems: Collection[int] = (), **arguments: Any
    ) -> requests.Response:
        """Return a success, or a problem with one of these statuses.

        Repeat the request after anything else: an outage ends, and a user corrects a token.
        """
        while True:
            response = self._try(method, path, **arguments)
            if response is not None:
                if 200 <= response.status_code < 300:
                    return response
                if response.status_code in problems and problem_code(response):
                    return response
                logger.error(
                    "%s returned %d, retrying: %s",
                    response.url,
                    response.status_code,
                    response.text[:500],
                )
            time.sleep(RETRY_INTERVAL)

    def _try(self, method: str, path: str, **arguments: Any) -> requests.Response | None:
        try:
            return self._http.request(
                method, self._url + path, timeout=TIMEOUTS, allow_redirects=False, **arguments
            )
        except requests.RequestException as error:
            logger.warning("%s is unavailable, retrying: %s", self._url, error)
            return None


def _session(url: str, setting: str) -> _Session:
    token = getattr(settings, setting)
    if not token:
        raise CommandError(
            f"{setting} is not set; it must be a REST token for {url}. "
            "Create one there with `manage.py drf_create_token USER`."
        )
    return _Session(url, token)


def _relay(source: _Session, target: _Session, position_file: Path) -> NoReturn:
    """Report page by page. A rejected report is repeated with each page and blocks no other.

    The position is stored after the report, so a crash repeats reports, which have no effect.
    """
    after = int(position_file.read_text()) if position_file.exists() else 0
    rejected: list[dict[str, Any]] = []
    while True:
        wait = RETRY_INTERVAL if rejected else WAIT
        parameters = {"after": after, "type": EVENT_TYPES, "wait": wait}
        page = source.request("GET", "events/", params=parameters).json()
        after = page["last_position"]
        events = [*rejected, *page["results"]]
        rejected = [event for event in events if not _report(target, event)]
        position = min((event["position"] - 1 for event in rejected), default=after)
        _store(position_file, position)


def _report(target: _Session, event: dict[str, Any]) -> bool:
    """Return whether the event needs no further report."""
    response = target.request(
        "POST",
        "purchase/external-receipts/",
        problems=PROBLEM_STATUSES,
        json=_external_receipt(event),
    )
    subject = f"{event['type']} of purchase order {event['subject']}"
    if response.ok:
        logger.info("Reported: %s", subject)
    elif problem_code(response) != NOT_IN_TARGET:
        logger.error(
            "The target rejected %s (position %d), retrying: %s",
            subject,
            event["position"],
            response.text[:500],
        )
        return False
    return True


def _external_receipt(event: dict[str, Any]) -> dict[str, Any]:
    data = event["data"]
    goods_received = event["type"] == "purchase.GoodsReceived"
    lines = data["lines"] if goods_received else []
    return {
        "id": data["receipt_id"] if goods_received else data["purchase_order_id"],
        "purchase_order_id": data["purchase_order_id"],
        "sequence_number": data["sequence_number"],
        "lines": [{"sku": line["sku"], "quantity": line["quantity"]} for line in lines],
        "final": data["final"] if goods_received else True,
    }


def _default_position_file(source: str, target: str) -> Path:
    name = f"relay-{_file_name(source)}-{_file_name(target)}"
    return Path(settings.ORDERFLOW_DATA_DIR) / name


def _file_name(url: str) -> str:
    return re.sub(r"[^0-9A-Za-z.]+", "-", url.split("://")[-1]).strip("-")


def _store(position_file: Path, position: int) -> None:
    """Replace the file atomically."""
    unfinished = position_file.with_name(f"{position_file.name}.unfinished")
    with unfinished.open("w") as stream:
        stream.write(str(position))
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(position_file)
