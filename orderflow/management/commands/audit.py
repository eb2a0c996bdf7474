from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orderflow.console.audit import audit

SHOWN = 20  # offending rows of a check; more of them would hide the other checks


class Command(BaseCommand):
    help = "Checks the invariants over the whole database, as of one moment. Exits with 1 where something is off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help=f"show every offending row, not only {SHOWN} of a check")

    def handle(self, *args: Any, **options: Any) -> None:
        checks = audit()
        for check in checks:
            mark = self.style.ERROR("WRONG") if check.offenders else self.style.SUCCESS("ok   ")
            self.stdout.write(f"{mark} {check.claim}")
            shown = check.offenders if options["all"] else check.offenders[:SHOWN]
            for offender in shown:
                self.stdout.write(f"        {offender}")
            if len(check.offenders) > len(shown):
                self.stdout.write(f"        … and {len(check.offenders) - len(shown)} more (--all shows them)")
        wrong = sum(bool(check.offenders) for check in checks)
        self.stdout.write(f"{len(checks)} checks, {wrong or 'none'} wrong.")
        if wrong:
            raise SystemExit(1)
