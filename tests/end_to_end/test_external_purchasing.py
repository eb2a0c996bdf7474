"""Two installations: the local one sells and stocks, the external one purchases.

A relay reports the receipts of the external installation to the local one.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from orderflow.operations.management import processes
from purchase.models import ExternalReceipt, PurchaseOrder
from sales.models import OrderStatus, SalesOrder
from tests.conftest import database_environment, product
from tests.end_to_end.conftest import assert_eventually, stop
from tests.end_to_end.helpers import assert_invariants, eventually, place
from tests.fork_server import fork_server
from tests.rest.conftest import UNTHROTTLED, Api, free_port, responds, token_of

MANAGE = [sys.executable, "-m", "manage"]
CREATE_PRODUCTS_AND_USER = """
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
from orderflow.catalog.services import create_products
create_products({"CHAIR": "Chair", "DESK": "Desk"})
print(Token.objects.create(user=get_user_model().objects.create_superuser("bea")).key)
"""


class Installation:
    """Processes that can be killed and restarted with the same data.

    With `url`, `start` waits until its web process responds.
    """

    def __init__(
        self,
        stack: ExitStack,
        log: Path,
        env: Mapping[str, str],
        *commands: Sequence[str],
        url: str = "",
    ) -> None:
        self._stack = stack
        self._log = log
        self._env = env
        self._commands = commands
        self.url = url
        self.start()

    def start(self) -> None:
        server = fork_server(frozenset(self._env.items()))
        self._programs = [server.start(command, self._log) for command in self._commands]
        for program in self._programs:
            self._stack.callback(stop, program)
        if self.url:
            assert_eventually(lambda: responds(self.url))

    def kill(self) -> None:
        for program in self._programs:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


class ExternalPurchasing(Api):
    """A client of the external installation."""

    def has(self, purchase_order_id: str) -> bool:
        return self.send("GET", f"purchase/orders/{purchase_order_id}/").status_code == 200

    def status(self, purchase_order_id: str) -> str:
        status: str = self.get(f"purchase/orders/{purchase_order_id}/")["status"]
        return status

    def receive(self, purchase_order_id: str, **quantities: int) -> None:
        """Receive these quantities by SKU, or everything outstanding."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        body = {"lines": lines} if lines else {}
        self.post(f"purchase/orders/{purchase_order_id}/receive/", body, expect=200)

    def cancel(self, purchase_order_id: str) -> None:
        body = {"reason": "sold out"}
        self.post(f"purchase/orders/{purchase_order_id}/cancel/", body, expect=200)


@pytest.fixture
def stack(transactional_db: None, tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
    for log in sorted(tmp_path.glob("*.log")):
        print(f"-- {log.name}\n{log.read_text()}")


@pytest.fixture
def external_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation with its own database and broker."""
    environment = {"ORDERFLOW_DATA_DIR": str(tmp_path / "external")}
    if connection.vendor == "postgresql":
        url = os.environ["DATABASE_URL"]
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DROP DATABASE IF EXISTS external_purchasing WITH (FORCE)")
            server.execute("CREATE DATABASE external_purchasing")
        environment["DATABASE_URL"] = url.rsplit("/", 1)[0] + "/external_purchasing"
        broker = os.environ["CELERY_BROKER_URL"]
        environment["CELERY_BROKER_URL"] = broker.rsplit("/", 1)[0] + "/1"
    return environment


def manage(env: Mapping[str, str], *arguments: str) -> str:
    environment = {**os.environ, **env}
    command = [*MANAGE, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(stack: ExitStack, log: Path, env: Mapping[str, str]) -> Installation:
    address = f"127.0.0.1:{free_port()}"
    commands = processes.web(address=address), processes.worker(), processes.beat()
    return Installation(stack, log, {**env, **UNTHROTTLED}, *commands, url=f"http://{address}")


@pytest.fixture
def external(
    stack: ExitStack, external_environment: dict[str, str], tmp_path: Path
) -> tuple[Installation, ExternalPurchasing]:
    manage(external_environment, "migrate", "--verbosity", "0")
    script = ["shell", "--verbosity", "0", "--command", CREATE_PRODUCTS_AND_USER]
    token = manage(external_environment, *script).strip()
    installation = install(stack, tmp_path / "external.log", external_environment)
    return installation, ExternalPurchasing(installation.url, token)


@pytest.fixture
def local(
    stack: ExitStack, external: tuple[Installation, ExternalPurchasing], tmp_path: Path
) -> Installation:
    for sku in ("CHAIR", "DESK"):
        product(sku)
    _, client = external
    env = {
        **database_environment(),
        "ORDERFLOW_EXTERNAL_PURCHASE_URL": client.url,
        "ORDERFLOW_EXTERNAL_PURCHASE_TOKEN": client.token,
    }
    return install(stack, tmp_path / "local.log", env)


@pytest.fixture
def relay(
    stack: ExitStack,
    external: tuple[Installation, ExternalPurchasing],
    local: Installation,
    tmp_path: Path,
) -> Installation:
    _, client = external
    urls = ["--source", client.url, "--target", local.url]
    command = [*MANAGE, "relay_receipts", *urls, "--position-file", str(tmp_path / "position")]
    tokens = {
        "ORDERFLOW_RELAY_SOURCE_TOKEN": client.token,
        "ORDERFLOW_RELAY_TARGET_TOKEN": token_of("relay", permissions=("add_externalreceipt",)),
    }
    return Installation(stack, tmp_path / "relay.log", tokens, command)


def awaited(order: SalesOrder) -> str:
    """Return the id of the awaited purchase order."""
    rows = OrderStatus.objects.filter(order=order, purchase_order_id__isnull=False)
    assert_eventually(rows.exists)
    return str(OrderStatus.objects.get(order=order).purchase_order_id)


@pytest.mark.postgresql_only
def test_external_purchasing_survives_kills_of_every_process(
    external: tuple[Installation, ExternalPurchasing],
    local: Installation,
    relay: Installation,
    external_environment: dict[str, str],
) -> None:
    installation, purchasing = external
    partly_received = place(CHAIR=4, DESK=1)
    received_during_outage = place(CHAIR=2)
    repurchased = place(DESK=3)
    cancelled = place(CHAIR=1)
    for order in (partly_received, received_during_outage, repurchased, cancelled):
        assert_eventually(lambda order=order: purchasing.has(awaited(order)))  # type: ignore[misc]

    # The external installation is killed while a purchase order is to be sent.
    installation.kill()
    placed_during_outage = place(DESK=2)
    sent_later = awaited(placed_during_outage)
    assert_eventually(PurchaseOrder.objects.filter(id=sent_later, external=True).exists)
    installation.start()
    assert_eventually(lambda: purchasing.has(sent_later))

    # The relay is killed between two receipts of a purchase order.
    in_parts = awaited(partly_received)
    purchasing.receive(in_parts, CHAIR=1)
    applied = ExternalReceipt.objects.filter(order=UUID(in_parts), applied=True)
    assert_eventually(lambda: applied.count() == 1)
    relay.kill()
    purchasing.receive(in_parts, CHAIR=3)
    purchasing.receive(in_parts)
    relay.start()
    eventually(partly_received, "delivered")

    # The local installation is killed while goods are received and a purchase order is cancelled.
    local.kill()
    purchasing.receive(awaited(received_during_outage))
    purchasing.receive(sent_later)
    not_delivered = awaited(repurchased)
    purchasing.cancel(not_delivered)
    local.start()
    eventually(received_during_outage, "delivered")
    eventually(placed_during_outage, "delivered")
    assert_eventually(lambda: awaited(repurchased) != not_delivered)

    # A repeated purchase is received; a cancelled sales order withdraws its purchase order.
    second, withdrawn = awaited(repurchased), awaited(cancelled)
    assert_eventually(lambda: purchasing.has(second))
    purchasing.receive(second)
    eventually(repurchased, "delivered")
    ada = Api(local.url, token_of("ada", superuser=True))
    ada.post(f"sales/orders/{cancelled.id}/cancel/", {}, expect=200)
    assert_eventually(lambda: purchasing.status(withdrawn) == "cancelled")
    assert_eventually(lambda: PurchaseOrder.objects.get(id=withdrawn).status == "cancelled")

    assert_invariants()
    assert not ExternalReceipt.objects.filter(applied=False).exists()
    statuses = {str(order.id): order.status for order in PurchaseOrder.objects.all()}
    results = purchasing.get("purchase/orders/")["results"]
    assert statuses == {order["id"]: order["status"] for order in results}
    assert ", 0 violated." in manage(external_environment, "audit")
