"""The commands of docs/rest.md run against a real server and worker."""

import json
import os
import re
import subprocess
from pathlib import Path

from sales.models import OrderStatus
from tests.end_to_end.conftest import ProcessRunner, process_runner, worker
from tests.end_to_end.helpers import assert_invariants
from tests.rest.conftest import Api

__all__ = ["process_runner", "worker"]

PAGE = Path(__file__).parents[2] / "docs/rest.md"


def test_documented_curl_commands_work(api: Api, worker: ProcessRunner, tmp_path: Path) -> None:
    script = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )
    assert script.count("call ") > 12
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        env={**os.environ, "URL": api.url, "TOKEN": api.token},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "Sales order WEB-1001 is awaiting goods received: 3 × OAK-CHAIR short, queue position 1: "
        "3 on order with PO-" in done.stdout
    )
    assert "\ndelivered\n" in done.stdout.replace("}", "}\n")
    assert OrderStatus.objects.get(order__reference="WEB-1001").status == "delivered"
    last = json.loads(done.stdout[done.stdout.rindex('{"results"') :])
    assert [each["placed"] for each in last["results"]] == [True, False]
    assert_invariants()
