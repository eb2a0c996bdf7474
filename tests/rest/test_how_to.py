"""docs/rest.md does what it says: its commands are run against a real server and a real worker."""

import json
import os
import re
import subprocess
from pathlib import Path

from sales.models import OrderStatus
from tests.journeys.conftest import Workshop, worker, workshop
from tests.journeys.shop import assert_all_is_well
from tests.rest.conftest import Api

__all__ = ["worker", "workshop"]

HOW_TO = Path(__file__).parents[2] / "docs/rest.md"


def test_the_whole_loop_with_curl(api: Api, worker: Workshop, tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL))
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
    assert "Sales order WEB-1001 waits for 3 × OAK-CHAIR, next in line: 3 on purchase order PO-" in done.stdout
    assert "\ndelivered\n" in done.stdout.replace("}", "}\n")
    assert OrderStatus.objects.get(order__reference="WEB-1001").state == "delivered"
    last = json.loads(done.stdout[done.stdout.rindex('{"results"') :])
    assert [each["accepted"] for each in last["results"]] == [True, False]
    assert_all_is_well()
