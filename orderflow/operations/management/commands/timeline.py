import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orderflow.operations.timeline import Timeline, timeline_of

POLL_INTERVAL = 0.2  # seconds


class Command(BaseCommand):
    help = """Prints the timeline of one sales order: messages, status changes, stock movements
    and decisions in time order, and what blocks the order now."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sales_order", help="reference or id of the sales order")
        parser.add_argument(
            "--follow", action="store_true", help="print new entries until the order is closed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        timeline = _timeline(options["sales_order"])
        self.stdout.write(timeline.title)
        printed: set[str] = set()
        self._print_new(timeline, printed)
        while options["follow"] and not timeline.is_complete:
            time.sleep(POLL_INTERVAL)
            timeline = _timeline(options["sales_order"])
            self._print_new(timeline, printed)
        for reason in timeline.reasons:
            self.stdout.write(self.style.WARNING(f"  Blocked: {reason}"))

    def _print_new(self, timeline: Timeline, printed: set[str]) -> None:
        for entry in timeline.entries:
            if entry.key not in printed:
                local = timezone.localtime(entry.created_at)
                created_at = f"{local:%Y-%m-%d %H:%M:%S.%f}"[:-3]
                self.stdout.write(f"  {created_at}  {entry.context:8}  {entry.text}")
                printed.add(entry.key)


def _timeline(sales_order: str) -> Timeline:
    timeline = timeline_of(sales_order)
    if timeline is None:
        raise CommandError(
            f"No sales order has the reference or id {sales_order}. Check the reference."
        )
    return timeline
