"""What keeps the contexts apart, where the import rules cannot see it."""

from django.apps import apps
from django.db.models import ForeignKey

from orderflow.messaging.messages import Command, Event, message_types
from orderflow.messaging.subscriptions import consumers_of, subscriptions

CONTEXTS = {"sales", "stock", "purchase"}
PUBLISHED = {name: message for name, message in message_types().items() if name.split(".")[0] in CONTEXTS}


def test_every_command_has_exactly_one_consumer() -> None:
    commands = [message for message in PUBLISHED.values() if issubclass(message, Command)]
    assert len(commands) >= 4
    for command in commands:
        assert len(consumers_of(command)) == 1, command


def test_a_command_is_carried_out_by_the_context_that_owns_it() -> None:
    for name, message in PUBLISHED.items():
        if issubclass(message, Command):
            assert consumers_of(message) == [name.split(".")[0]]


def test_the_feed_hears_every_event_and_no_command() -> None:
    for message in PUBLISHED.values():
        assert ("feed" in consumers_of(message)) == issubclass(message, Event)


def test_no_context_listens_to_its_own_events() -> None:
    for name, message in PUBLISHED.items():
        if issubclass(message, Event):
            assert name.split(".")[0] not in consumers_of(message)


def test_every_context_is_a_consumer_and_so_is_the_feed() -> None:
    assert {subscription.consumer for subscription in subscriptions()} == CONTEXTS | {"feed"}


def test_no_foreign_key_leads_from_one_context_to_another() -> None:
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, ForeignKey) and model._meta.app_label in CONTEXTS:
                target = field.related_model._meta.app_label
                assert target in {model._meta.app_label, "catalog"}, field
