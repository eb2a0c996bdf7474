import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orderflow.console.story import Story, story_of

LOOK_AGAIN = 0.2  # seconds between two looks when following


class Command(BaseCommand):
    help = "Prints everything that happened to one sales order, in order, and what it waits for now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reference", help="the sales order's reference or id")
        parser.add_argument("--follow", action="store_true", help="go on printing until the order has reached its end")

    def handle(self, *args: Any, **options: Any) -> None:
        story = self._story(options["reference"])
        self.stdout.write(story.title)
        told: set[str] = set()
        self._tell(story, told)
        while options["follow"] and not story.has_ended:
            time.sleep(LOOK_AGAIN)
            story = self._story(options["reference"])
            self._tell(story, told)
        for reason in story.waits_for:
            self.stdout.write(self.style.WARNING(f"  waits for {reason}"))

    def _story(self, reference: str) -> Story:
        story = story_of(reference)
        if story is None:
            raise CommandError(f"There is no sales order {reference}. Give its reference or its id.")
        return story

    def _tell(self, story: Story, told: set[str]) -> None:
        for entry in story.entries:
            if entry.key not in told:
                self.stdout.write(
                    f"  {timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"  {entry.who:8}  {entry.what}"
                )
                told.add(entry.key)
