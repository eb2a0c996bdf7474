"""Two Orderflows: one sells and stores, the other one buys. A relay tells the first what the second has received."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from tests.end_to_end.conftest import assert_eventually
from tests.end_to_end.helpers import assert_invariants, eventually, place
from tests.rest.conftest import UNTHROTTLED, Api, answers, free_port, token_of

ROOT = Path(__file__).parents[2]
MANAGE = [sys.executable, str(ROOT / "manage.py")]
MAKE_A_USER = """
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
from orderflow.catalog.services import create_products
create_products({"CHAIR": "Chair", "DESK": "Desk"})
print(Token.objects.create(user=get_user_model().objects.create_superuser("bea")).key)
"""


class Instance:
    """Programs that are started, killed without a warning, and started again where they were."""

    def __init__(
        self,
        stack: ExitStack,
        log: Path,
        env: Mapping[str, str],
        *commands: Sequence[str],
        url: str = "",
    ) -> None:
        self._stack, self._log, self._env, self._commands, self.url = (
            stack,
            log,
            env,
            commands,
            url,
        )
        self.start()

    def start(self) -> None:
        running = processes.running(*self._commands, log=self._log, env=self._env, grace=0.2)
        self._programs = self._stack.enter_context(running)
        if self.url:
            assert_eventually(lambda: answers(self.url))

    def kill(self) -> None:
        for program in self._programs:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


@pytest.fixture
def stack(transactional_db: None, tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
    for log in sorted(tmp_path.glob("*.log")):
        print(f"-- {log.name}\n{log.read_text()}")


@pytest.fixture
def another_database(tmp_path: Path) -> dict[str, str]:
    """The environment of an instance that shares neither database nor broker with the tests."""
    elsewhere = {"ORDERFLOW_DATA_DIR": str(tmp_path / "external")}
    if connection.vendor == "postgresql":
        url = os.environ["DATABASE_URL"]
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
            server.execute("CREATE DATABASE elsewhere")
        elsewhere["DATABASE_URL"] = url.rsplit("/", 1)[0] + "/elsewhere"
        elsewhere["CELERY_BROKER_URL"] = os.environ["CELERY_BROKER_URL"].rsplit("/", 1)[0] + "/1"
    return elsewhere


def manage(env: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*MANAGE, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def there(
    stack: ExitStack, another_database: dict[str, str], tmp_path: Path
) -> tuple[Instance, Api]:
    """The one that buys, and a client of it."""
    manage(another_database, "migrate", "--verbosity", "0")
    token = manage(another_database, "shell", "--verbosity", "0", "--command", MAKE_A_USER).strip()
    address = f"127.0.0.1:{free_port()}"
    programs = processes.web(address=address), processes.worker(), processes.beat()
    env = {**another_database, **UNTHROTTLED}
    instance = Instance(stack, tmp_path / "there.log", env, *programs, url=f"http://{address}")
    return instance, Api(instance.url, token)


@pytest.fixture
def here(stack: ExitStack, there: tuple[Instance, Api], tmp_path: Path) -> Instance:
    """The one that sells and stores."""
    for sku in ("CHAIR", "DESK"):
        product(sku)
    address = f"127.0.0.1:{free_port()}"
    remote, client = there
    env = {
        **database_environment(),
        **UNTHROTTLED,
        "ORDERFLOW_EXTERNAL_PURCHASE_URL": remote.url,
        "ORDERFLOW_EXTERNAL_PURCHASE_TOKEN": client.token,
    }
    programs = processes.web(address=address), processes.worker(), processes.beat()
    return Instance(stack, tmp_path / "here.log", env, *programs, url=f"http://{address}")


@pytest.fixture
def relay(
    stack: ExitStack, there: tuple[Instance, Api], here: Instance, tmp_path: Path
) -> Instance:
    command = [
        *MANAGE,
        "relay_receipts",
        "--from",
        there[0].url,
        "--to",
        here.url,
        "--status",
        str(tmp_path / "position"),
    ]
    tokens = {
        "ORDERFLOW_RELAY_SOURCE_TOKEN": there[1].token,
        "ORDERFLOW_RELAY_TARGET_TOKEN": token_of("relay", permissions=("add_remotereceipt",)),
    }
    return Instance(stack, tmp_path / "relay.log", tokens, command)


def kept_there(client: Api, purchase_order_id: object) -> Callable[[], bool]:
    return lambda: client.send("GET", f"purchase/orders/{purchase_order_id}/").status_code == 200


def awaited(order: SalesOrder) -> str:
    assert_eventually(
        lambda: OrderStatus.objects.filter(order=order, purchase_order_id__isnull=False).exists()
    )
    return str(OrderStatus.objects.get(order=order).purchase_order_id)


@pytest.mark.postgresql_only
def test_orders_are_bought_elsewhere_whoever_is_killed_on_the_way(
    there: tuple[Instance, Api], here: Instance, relay: Instance, another_database: dict[str, str]
) -> None:
    remote, client = there
    in_parts, late, cancelled_there, waiting = (
        place(CHAIR=4, DESK=1),
        place(CHAIR=2),
        place(DESK=3),
        place(CHAIR=1),
    )
    bought = awaited(in_parts)
    for order in (in_parts, late, cancelled_there, waiting):
        assert_eventually(kept_there(client, awaited(order)))

    # The other side ends while something is to be ordered there.
    remote.kill()
    ordered_meanwhile = place(DESK=2)
    meanwhile = awaited(ordered_meanwhile)
    assert_eventually(PurchaseOrder.objects.filter(id=meanwhile, external=True).exists)
    remote.start()
    assert_eventually(kept_there(client, meanwhile))

    # The relay ends between two parts of a purchase order.
    client.post(
        f"purchase/orders/{bought}/receive/",
        {"lines": [{"sku": "CHAIR", "quantity": 1}]},
        expect=200,
    )
    assert_eventually(
        lambda: ExternalReceipt.objects.filter(order=UUID(bought), applied=True).count() == 1
    )
    relay.kill()
    client.post(
        f"purchase/orders/{bought}/receive/",
        {"lines": [{"sku": "CHAIR", "quantity": 3}]},
        expect=200,
    )
    client.post(f"purchase/orders/{bought}/receive/", {}, expect=200)
    relay.start()
    eventually(in_parts, "delivered")

    # This side ends while goods arrive there, and what was bought for an order will not come.
    here.kill()
    client.post(f"purchase/orders/{awaited(late)}/receive/", {}, expect=200)
    client.post(f"purchase/orders/{meanwhile}/receive/", {}, expect=200)
    not_coming = awaited(cancelled_there)
    client.post(f"purchase/orders/{not_coming}/cancel/", {"reason": "sold out"}, expect=200)
    here.start()
    eventually(late, "delivered")
    eventually(ordered_meanwhile, "delivered")
    assert_eventually(lambda: awaited(cancelled_there) != not_coming)  # it is bought once more

    # What is cancelled here is cancelled there, and what is bought again arrives.
    again, unwanted = awaited(cancelled_there), awaited(waiting)
    assert_eventually(kept_there(client, again))
    client.post(f"purchase/orders/{again}/receive/", {}, expect=200)
    eventually(cancelled_there, "delivered")
    Api(here.url, token_of("ada", superuser=True)).post(
        f"sales/orders/{waiting.id}/cancel/", {}, expect=200
    )
    assert_eventually(lambda: client.get(f"purchase/orders/{unwanted}/")["status"] == "cancelled")
    assert_eventually(lambda: PurchaseOrder.objects.get(id=unwanted).status == "cancelled")

    assert_invariants()
    assert not ExternalReceipt.objects.filter(applied=False).exists()
    mine = {str(order.id): order.status for order in PurchaseOrder.objects.all()}
    theirs = {order["id"]: order["status"] for order in client.get("purchase/orders/")["results"]}
    assert mine == theirs
    assert "none wrong" in manage(another_database, "audit")
