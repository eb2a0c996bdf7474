"""A consumer of the tests' own: it notes what it hears in the database, and misbehaves when told to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from orderflow.catalog.models import Product
from orderflow.messaging.messages import Event, ReceivedMessage
from orderflow.messaging.publishing import OutgoingMessage, publish

CONSUMER = "listener"


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    about: UUID
    text: str

    @property
    def key(self) -> UUID:
        return self.about


class Listener:
    """Its effect is a product for each message, which fails if it is made twice. `heard` is in the order of handling."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.batches: list[int] = []
        self.misbehave: Callable[[Noted], None] = lambda message: None

    def handle(self, batch: Sequence[ReceivedMessage]) -> None:
        self.batches.append(len(batch))
        heard = []
        for received in batch:
            assert isinstance(received.message, Noted)
            self.misbehave(received.message)
            Product.objects.create(sku=received.message.text, name="an effect")
            heard.append(received.message.text)
        transaction.on_commit(lambda: self.heard.extend(heard))


@transaction.atomic
def say(about: UUID, *texts: str, countdown: float = 0.0) -> list[int]:
    return publish(
        [
            OutgoingMessage(message=Noted(about=about, text=text), countdown=countdown)
            for text in texts
        ]
    )


def effects() -> list[str]:
    return sorted(Product.objects.values_list("sku", flat=True))
