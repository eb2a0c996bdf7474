"""The OpenAPI schema is valid, and the server behaves as it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orderflow.messaging.consuming import drain
from sales.services import SalesOrderDraft, place_orders
from stock.services import Adjustment, adjust_stock
from tests.conftest import drain_all, lines, product
from tests.rest.conftest import Api, known_codes, token_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = os.environ.get("ORDERFLOW_SCHEMATHESIS_EXAMPLES", "6")  # for each operation


@pytest.mark.postgresql_only  # rejects more values than SQLite
def test_schemathesis_finds_no_difference_to_the_schema(
    transactional_db: None, server: str, tmp_path: Path
) -> None:
    adjust_stock(
        [Adjustment(product_id=product("CHAIR"), quantity=50, reason="opening")], actor="ada"
    )
    place_orders(
        [
            SalesOrderDraft(lines=lines(CHAIR=1, DESK=1)),
            SalesOrderDraft(lines=lines(CHAIR=2), delivery_mode="manual"),
        ]
    )
    drain_all()
    command = [
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
        f"{server}/api/v1/schema/",
        "--max-examples",
        EXAMPLES,
    ]
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            *command,
            "--header",
            f"Authorization: Token {token_of('ada', superuser=True)}",
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.rest.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    print(checked.stdout, checked.stderr)
    assert checked.returncode == 0
    assert "✅ Stateful" in checked.stdout
    while drain("feed"):  # every published event can be appended
        pass


def test_responses_with_ids_link_to_operations(api: Api) -> None:
    paths = api.get("schema/")["paths"]
    created = paths["/api/v1/sales/orders/"]["post"]["responses"]["201"]["links"]
    assert {
        "sales_orders_retrieve",
        "sales_orders_deliver",
        "sales_orders_history_list",
    } <= created.keys()
    assert (
        "purchase_orders_receive"
        in paths["/api/v1/purchase/orders/"]["get"]["responses"]["200"]["links"]
    )


def test_schema_lists_every_problem_code(api: Api) -> None:
    schemas = api.get("schema/")["components"]["schemas"]
    assert "ProblemCode" in str(schemas["Problem"]["properties"]["code"])
    assert set(schemas["ProblemCode"]["enum"]) == known_codes()


def test_every_post_has_idempotency_key_and_example(api: Api) -> None:
    for path, operations in api.get("schema/")["paths"].items():
        if post := operations.get("post"):
            assert "Idempotency-Key" in [parameter["name"] for parameter in post["parameters"]], (
                path
            )
            body = post["requestBody"]["content"]["application/json"]
            assert "examples" in body or body["schema"]["$ref"].endswith("/Decision"), path


@pytest.mark.parametrize(
    "path", ["api/v1/schema/", "api/v1/docs/", "admin/login/", "healthz", "api/v1/nothing/"]
)
def test_every_page_has_strict_content_security_policy(api: Api, path: str) -> None:
    policy = api.send("GET", f"../../{path}").headers["Content-Security-Policy"]
    assert {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
    } <= set(policy.split("; "))
    assert "unsafe" not in policy
