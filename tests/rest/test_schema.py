"""The schema is valid and true: Schemathesis calls everything that it says, and what it does not say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orderflow.messaging.consuming import drain
from sales.services import NewOrder, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines, product, settle
from tests.rest.conftest import Api, known_codes, token_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = os.environ.get("ORDERFLOW_EXAMPLES", "12")  # for each operation; more for a long run


@pytest.mark.postgresql  # it objects to more than SQLite does
def test_schemathesis_finds_no_call_that_the_schema_and_the_server_see_differently(
    transactional_db: None, server: str, tmp_path: Path
) -> None:
    adjust_stock([Adjustment(product_id=product("CHAIR"), quantity=50, reason="opening")], by="ada")
    place_orders([NewOrder(lines=lines(CHAIR=1, DESK=1)), NewOrder(lines=lines(CHAIR=2), delivery="manual")])
    settle()
    command = ["--config-file", str(HERE / "schemathesis.toml"), "run", f"{server}/api/schema/", "--max-examples", EXAMPLES]
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            *command,
            "--header",
            f"Authorization: Token {token_of('ada', superuser=True)}",
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.rest.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    print(checked.stdout, checked.stderr)  # for whoever has to find out why
    assert checked.returncode == 0
    assert "✅ Stateful" in checked.stdout
    while drain("feed"):  # everything that it placed can be told
        pass


def test_every_answer_that_has_an_id_says_where_it_leads_to(api: Api) -> None:
    paths = api.get("schema/")["paths"]
    created = paths["/api/sales/orders/"]["post"]["responses"]["201"]["links"]
    assert {"sales_orders_retrieve", "sales_orders_deliver_create", "sales_orders_history_list"} <= created.keys()
    assert "purchase_orders_receive_create" in paths["/api/purchase/orders/"]["get"]["responses"]["200"]["links"]


def test_every_problem_code_is_in_the_schema(api: Api) -> None:
    schemas = api.get("schema/")["components"]["schemas"]
    assert "CodeEnum" in str(schemas["Problem"]["properties"]["code"])
    assert set(schemas["CodeEnum"]["enum"]) == known_codes()


def test_every_post_takes_an_idempotency_key_and_has_an_example(api: Api) -> None:
    for path, operations in api.get("schema/")["paths"].items():
        if post := operations.get("post"):
            assert "Idempotency-Key" in [parameter["name"] for parameter in post["parameters"]], path
            body = post["requestBody"]["content"]["application/json"]
            assert "examples" in body or body["schema"]["$ref"].endswith("/ReasonInput"), path


@pytest.mark.parametrize("path", ["api/schema/", "api/docs/", "admin/login/", "healthz", "api/nothing/"])
def test_every_page_has_the_same_strict_content_security_policy(api: Api, path: str) -> None:
    policy = api.send("GET", f"../{path}").headers["Content-Security-Policy"]
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'"} <= set(policy.split("; "))
    assert "unsafe" not in policy
