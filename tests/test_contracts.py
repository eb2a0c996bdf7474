"""What keeps the contexts apart and the rules pure, where import-linter cannot see it."""

import subprocess
import sys
from textwrap import dedent

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import ForeignKey

from orderflow.messaging.messages import Command, Event, Message, message_types
from orderflow.messaging.subscriptions import consumers_of, subscriptions

CONTEXTS = {"sales", "stock", "purchase"}
PUBLISHED = {
    name: message for name, message in message_types().items() if name.split(".")[0] in CONTEXTS
}
COMMANDS = {name: each for name, each in PUBLISHED.items() if issubclass(each, Command)}
EVENTS = {name: each for name, each in PUBLISHED.items() if issubclass(each, Event)}

IMPORT_WITHOUT_FRAMEWORKS = dedent(
    """
    import importlib, sys

    class RejectFrameworks:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("django", "celery", "rest_framework"):
                raise ImportError(f"{name} is imported by a pure rule")

    sys.meta_path.insert(0, RejectFrameworks())
    importlib.import_module(sys.argv[1])
    """
)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_one_consumer_in_its_context(name: str) -> None:
    assert consumers_of(COMMANDS[name]) == [name.split(".")[0]]


def test_contexts_define_commands_and_events() -> None:
    assert len(COMMANDS) >= 4
    assert len(EVENTS) >= 4
    assert COMMANDS.keys() | EVENTS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("message", PUBLISHED.values(), ids=PUBLISHED)
def test_event_feed_receives_every_event_and_no_command(message: type[Message]) -> None:
    assert ("feed" in consumers_of(message)) == issubclass(message, Event)


@pytest.mark.parametrize("name", EVENTS)
def test_context_does_not_receive_its_own_event(name: str) -> None:
    assert name.split(".")[0] not in consumers_of(EVENTS[name])


def test_consumers_are_the_contexts_and_the_event_feed() -> None:
    assert {subscription.consumer for subscription in subscriptions()} == CONTEXTS | {"feed"}


def test_foreign_keys_stay_within_their_context() -> None:
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, ForeignKey) and model._meta.app_label in CONTEXTS:
                target = field.related_model._meta.app_label
                assert target in {model._meta.app_label, "catalog"}, field


# Fails for "sales.models", with "django is imported by a pure rule".
@pytest.mark.parametrize(
    "module", ["sales.process_manager", "stock.allocation", "purchase.lifecycle"]
)
def test_pure_rules_import_no_framework(module: str) -> None:
    command = [sys.executable, "-c", IMPORT_WITHOUT_FRAMEWORKS, module]
    result = subprocess.run(
        command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
