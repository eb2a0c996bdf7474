"""A consumer for the tests of the kernel. It stores an effect for each message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.messaging.messages import Event, ReceivedMessage
from orderflow.messaging.publishing import OutgoingMessage, publish

CONSUMER = "sample"


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    subject: UUID
    text: str

    @property
    def key(self) -> UUID:
        return self.subject


class SampleConsumer:
    """Creates a product for each message. A second effect of one message violates a constraint.

    `handled`: the texts of the committed messages, in the order of handling. `batches`: the sizes
    of the batches. `hook`: called before each effect; may raise.
    """

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.batches: list[int] = []
        self.hook: Callable[[SampleEvent], None] = lambda message: None

    def handle(self, batch: Sequence[ReceivedMessage]) -> None:
        self.batches.append(len(batch))
        texts = []
        for received in batch:
            assert isinstance(received.message, SampleEvent)
            self.hook(received.message)
            Product.objects.create(sku=received.message.text, name="effect")
            texts.append(received.message.text)
        transaction.on_commit(lambda: self.handled.extend(texts))


@transaction.atomic
def publish_texts(subject: UUID, *texts: str, countdown: float = 0.0) -> list[int]:
    return publish(
        [
            OutgoingMessage(message=SampleEvent(subject=subject, text=text), countdown=countdown)
            for text in texts
        ]
    )


def effects() -> list[str]:
    return sorted(Product.objects.values_list("sku", flat=True))
