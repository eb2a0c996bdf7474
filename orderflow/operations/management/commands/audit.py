from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orderflow.core.invariants import InvariantCheck
from orderflow.operations.audit import audit

MAX_VIOLATIONS_SHOWN = 20  # of one invariant, so that the other invariants stay visible


class Command(BaseCommand):
    help = """Checks the invariants over one snapshot of the database. It may run while Orderflow
    is running. Exits with status 1 if an invariant is violated."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all",
            action="store_true",
            help=f"show every violation (default: at most {MAX_VIOLATIONS_SHOWN} per invariant)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        checks = audit()
        for check in checks:
            self._show(check, show_all=options["all"])
        failed = sum(bool(check.violations) for check in checks)
        self.stdout.write(f"{len(checks)} invariants checked, {failed} violated.")
        if failed:
            raise SystemExit(1)

    def _show(self, check: InvariantCheck, *, show_all: bool) -> None:
        result = self.style.ERROR("FAIL") if check.violations else self.style.SUCCESS("PASS")
        self.stdout.write(f"{result} {check.invariant}")
        shown = check.violations if show_all else check.violations[:MAX_VIOLATIONS_SHOWN]
        for violation in shown:
            self.stdout.write(f"     {violation}")
        hidden = len(check.violations) - len(shown)
        if hidden:
            self.stdout.write(f"     … and {hidden:,} more; use --all to show them")
