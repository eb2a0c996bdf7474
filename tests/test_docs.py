"""The parts of the documents that are made from the code are what the code says.

`python -m tests.test_docs` writes them anew.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from orderflow.api.problems import status_of
from orderflow.api.schema import GENERAL, refusals
from purchase.receiving import TABLE as PURCHASE_TABLE
from purchase.receiving import Act, Status
from sales.process_manager import SECTIONS, TABLE, State, as_text
from tests.rest.addresses import addresses

GROUPS = importlib.import_module("orderflow.migrations.0001_groups").GROUPS
ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "docs/process.md", "docs/rest.md"]
PART = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

LIMITS = {  # the setting that limits the stay in a state
    State.AWAITING_STOCK_RESERVATION: "ORDERFLOW_RESERVATION_LIMIT",
    State.AWAITING_GOODS_RECEIVED: "ORDERFLOW_GOODS_LIMIT",
    State.DELIVERABLE: "ORDERFLOW_DELIVERY_LIMIT",
}
EXPLAINED_IN_THE_FILE = [  # settings that hardly anybody changes
    "ORDERFLOW_BATCH",
    "ORDERFLOW_DEBUG",
    "ORDERFLOW_LOG_LEVEL",
    "ORDERFLOW_STATIC",
    "ORDERFLOW_TIME_ZONE",
    "ORDERFLOW_WORKERS",
]
SHORT = dict(zip(State, ["–", "AS", "AG", "DL", "DD", "CX"], strict=True))


def part(name: str) -> str:
    """What belongs between the marks."""
    if name == "states":
        return _table(["", "state", "it is overdue after (setting)"], _states())
    if name == "purchase orders":
        return _table(["", *(_words(status) for status in Status)], _purchase_orders())
    if name == "problem codes":
        return _table(["code", "status", "what has happened"], _problem_codes())
    if name == "who may what":
        return _table(["", *GROUPS, "the permission"], _who_may_what())
    rows = [row for row in TABLE if row.enters] if name == "what moves an order on" else SECTIONS[name]
    return _table(["state", "on", "next", "does"], as_text(rows))


def _states() -> Iterator[list[str]]:
    for state in State:
        if state != State.NEW:
            stay = f"{_duration(settings.ORDERFLOW_LIMITS[state])} (`{LIMITS[state]}`)" if state in LIMITS else "it has ended"
            yield [SHORT[state], _words(state), stay]


def _purchase_orders() -> Iterator[list[str]]:
    for act, outcomes in PURCHASE_TABLE.items():
        yield [f"**{act}**", *(_outcome(act, status, outcomes[status]) for status in Status)]


def _outcome(act: Act, before: Status, after: object) -> str:
    if not isinstance(after, Status):
        return "refused"
    if act == Act.RECEIVE:
        return f"{_words(after)}, or received"
    return "stays" if after == before else _words(after)


def _problem_codes() -> Iterator[list[str]]:
    importlib.import_module("orderflow.urls")  # and so everything that can refuse something
    refused = {each.code: (int(status_of(each)), str(inspect.getdoc(each)).splitlines()[0]) for each in refusals()}
    for code, (status, what) in sorted({**GENERAL, **refused}.items()):
        yield [f"`{code}`", str(status), what]


def _who_may_what() -> Iterator[list[str]]:
    for method, path, needed in addresses():
        marks = ["✓" if needed is None or needed in permissions else "" for permissions in GROUPS.values()]
        yield [f"`{method} {path}`", *marks, f"`{needed}`" if needed else "whoever is known"]


def _duration(limit: timedelta) -> str:
    hours = int(limit.total_seconds() // 3600)
    count, unit = (hours, "hour") if hours < 24 else (hours // 24, "day")
    return f"{count} {unit}{'s' if count > 1 else ''}"


def _words(value: str) -> str:
    return value.replace("_", " ")


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(head)} |".replace("|  |", "| |"), "|---" * len(head) + "|"]
    return "".join(f"{line}\n" for line in [*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def written_anew(text: str) -> str:
    return PART.sub(lambda found: found[1] + part(found[2]) + found[4], text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_generated_parts_are_what_the_code_says(document: str) -> None:
    text = (ROOT / document).read_text()
    assert text == written_anew(text), "Run .venv/bin/python -m tests.test_docs"


def test_every_row_of_the_table_is_explained_to_a_person_who_runs_a_warehouse() -> None:
    parts = {found[1] for found in PART.findall((ROOT / "docs/process.md").read_text())}
    assert parts >= SECTIONS.keys() | {"states", "purchase orders"}


def test_every_setting_is_explained_and_every_one_that_is_explained_exists() -> None:
    settings_file = (ROOT / "orderflow/settings.py").read_text()
    known = set(re.findall(r'environment\.\w+\(\s*"(\w+)"', settings_file))
    for document in [*DOCUMENTS, *(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))]:
        named = set(re.findall(r"`(ORDERFLOW_\w+)", (ROOT / document).read_text()))
        assert named <= known, document
    explained = set(re.findall(r"`(\w+)`", (ROOT / "README.md").read_text()))
    assert known - explained == set(EXPLAINED_IN_THE_FILE)


if __name__ == "__main__":
    import django

    django.setup()
    for document in DOCUMENTS:
        path = ROOT / document
        path.write_text(written_anew(path.read_text()))
