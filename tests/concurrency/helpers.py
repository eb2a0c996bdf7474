"""Stock, messages and handlers of the concurrency tests."""

from collections.abc import Callable, Sequence

from django.db import transaction

from orderflow.messaging.messages import Message, ReceivedMessage, type_name
from orderflow.messaging.models import StoredMessage
from orderflow.messaging.publishing import OutgoingMessage, publish
from tests.concurrency.threads import Call


def handled_by(handler: Callable[[Sequence[ReceivedMessage]], None], message: Message) -> Call:
    """Publish a message; return a call that handles it, without the lock of the consumer."""
    with transaction.atomic():
        [message_id] = publish([OutgoingMessage(message=message)])

    def handle() -> None:
        with transaction.atomic():
            handler([ReceivedMessage(id=message_id, message=message)])

    return handle


def published_count(message_type: type[Message]) -> int:
    return StoredMessage.objects.filter(type=type_name(message_type)).count()
