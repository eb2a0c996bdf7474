"""The documentation agrees with the code: generated parts, links, commands, settings, messages.

`python -m tests.test_docs` rewrites the generated parts.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from orderflow import environment
from orderflow.api.problems import status_of
from orderflow.api.schema import GENERAL, domain_errors
from orderflow.messaging.messages import message_types
from purchase import lifecycle
from sales.process_manager import STORED_STATUSES, TRANSITION_GROUPS, as_text
from tests.rest.endpoints import endpoints

GROUPS = importlib.import_module("orderflow.migrations.0001_groups").GROUPS
ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GENERATED = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
README_MAX_WORDS = 1200

STATUS_LIMIT_SETTINGS = {
    "awaiting_stock_reservation": "ORDERFLOW_RESERVATION_OVERDUE_AFTER",
    "awaiting_goods_received": "ORDERFLOW_GOODS_OVERDUE_AFTER",
    "deliverable": "ORDERFLOW_DELIVERY_OVERDUE_AFTER",
}


def generated_part(name: str) -> str:
    """Return the content between the markers `<!-- generated: name -->` and `<!-- end -->`."""
    if name in TRANSITION_GROUPS:
        header = ["status", "message", "guards", "next status", "actions"]
        return _table(header, as_text(TRANSITION_GROUPS[name]))
    return {
        "statuses": lambda: _table(["status", "overdue after (setting)"], _statuses()),
        "purchase orders": lambda: _table(
            ["action", *(status.text for status in lifecycle.Status)], _purchase_orders()
        ),
        "problem codes": lambda: _table(["code", "status", "cause"], _problem_codes()),
        "permissions": lambda: _table(["endpoint", *GROUPS, "permission"], _permissions()),
        "settings": _settings,
    }[name]()


def render_generated_parts(text: str) -> str:
    return GENERATED.sub(lambda match: match[1] + generated_part(match[2]) + match[4], text)


def _statuses() -> Iterator[list[str]]:
    for status in STORED_STATUSES:
        limit = "closed"
        if status in STATUS_LIMIT_SETTINGS:
            duration = _duration(settings.ORDERFLOW_STATUS_LIMITS[status])
            limit = f"{duration} (`{STATUS_LIMIT_SETTINGS[status]}`)"
        yield [status.text, limit]


def _purchase_orders() -> Iterator[list[str]]:
    for action, outcomes in lifecycle.TABLE.items():
        cells = [_outcome(action, status, outcomes[status]) for status in lifecycle.Status]
        yield [f"**{action}**", *cells]


def _outcome(
    action: lifecycle.PurchaseOrderAction, before: lifecycle.Status, after: object
) -> str:
    if not isinstance(after, lifecycle.Status):
        return "rejected"
    if action == lifecycle.PurchaseOrderAction.RECEIVE:
        return f"{after.text}, or received"
    return "unchanged" if after == before else after.text


def _problem_codes() -> Iterator[list[str]]:
    importlib.import_module("orderflow.urls")  # loads every error class
    errors = {
        each.code: (int(status_of(each)), str(inspect.getdoc(each)).splitlines()[0])
        for each in domain_errors()
    }
    for code, (status, cause) in sorted({**GENERAL, **errors}.items()):
        yield [f"`{code}`", str(status), cause]


def _permissions() -> Iterator[list[str]]:
    for method, path, permission in endpoints():
        marks = [
            "✓" if permission is None or permission in permissions else ""
            for permissions in GROUPS.values()
        ]
        yield [f"`{method} {path}`", *marks, f"`{permission}`" if permission else "any user"]


def _settings() -> str:
    text = ""
    for topic, group in groupby(environment.documented.values(), key=lambda each: each.topic):
        rows = [
            [f"`{each.name}`", each.kind, f"`{each.default}`" if each.default else "", each.help]
            for each in group
        ]
        text += f"\n**{topic}**\n\n" + _table(["variable", "values", "default", "meaning"], rows)
    return f"{text}\n"


def _duration(limit: timedelta) -> str:
    hours = int(limit.total_seconds() // 3600)
    count, unit = (hours, "hour") if hours < 24 else (hours // 24, "day")
    return f"{count} {unit}{'s' if count > 1 else ''}"


def _table(header: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "".join(f"{line}\n" for line in [*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_generated_parts_match_the_code(page: Path) -> None:
    text = page.read_text()
    assert text == render_generated_parts(text), "Run .venv/bin/python -m tests.test_docs"


def test_process_docs_cover_every_transition() -> None:
    parts = {match[1] for match in GENERATED.findall((ROOT / "docs/process.md").read_text())}
    assert parts == TRANSITION_GROUPS.keys() | {"statuses", "purchase orders"}


def test_documented_settings_exist_and_are_complete() -> None:
    known = environment.documented.keys()
    for page in PAGES:
        named = set(re.findall(r"`(ORDERFLOW_\w+)", page.read_text()))
        assert named - known <= TEST_VARIABLES, page
    settings_file = (ROOT / "orderflow/settings.py").read_text()
    assert set(re.findall(r'"(ORDERFLOW_\w+)"', settings_file)) <= known
    assert "<!-- generated: settings -->" in (ROOT / "docs/operations.md").read_text()


TEST_VARIABLES = {"ORDERFLOW_SIMULATION_RUNS", "ORDERFLOW_SCHEMATHESIS_EXAMPLES"}


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    text = CODE_BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page.name}: {target}"


def _anchors(file: Path) -> set[str]:
    """Return the anchors of the headings, as code hosts generate them."""
    text = CODE_BLOCK.sub("", file.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_commands_and_their_options_exist(page: Path) -> None:
    commands = get_commands()
    text = page.read_text().replace("\\\n", " ")
    for name, arguments in re.findall(r"manage\.py (\w+)([^`\n|]*)", text):
        assert name in commands, f"{page.name}: manage.py {name}"
        app = commands[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        parser = command.create_parser("manage.py", name)
        for option in re.findall(r"(?<!\S)(--[\w-]+)", arguments):
            assert option in parser._option_string_actions, f"{page.name}: {name} {option}"
    for script in re.findall(r"(?<![\w/.])bin/(\w+)", text):
        assert (ROOT / "bin" / script).exists(), f"{page.name}: bin/{script}"


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_named_paths_exist(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"`((?:orderflow|sales|stock|purchase|tests|docs)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_documented_messages_exist() -> None:
    known = {name.split(".")[1] for name in message_types()}
    pattern = r"\b((?:Make|Release|Ship|Retry)Reservation|(?:Create|Withdraw)PurchaseOrder)\b"
    for page in PAGES:
        assert set(re.findall(pattern, page.read_text())) <= known, page


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_MAX_WORDS


if __name__ == "__main__":
    import django

    django.setup()
    for each in PAGES:
        each.write_text(render_generated_parts(each.read_text()))
