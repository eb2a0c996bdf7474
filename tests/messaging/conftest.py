from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.utils import timezone

from orderflow.messaging import subscriptions
from orderflow.messaging.signals import messages_available
from orderflow.messaging.subscriptions import Subscription
from tests.messaging.sample_consumer import CONSUMER, SampleConsumer, SampleEvent


@pytest.fixture
def consumer(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> SampleConsumer:
    """The only consumer."""
    consumer = SampleConsumer()
    subscription = Subscription(consumer=CONSUMER, to=(SampleEvent,), handle=consumer.handle)
    monkeypatch.setattr(subscriptions, "_subscriptions", {CONSUMER: subscription})
    return consumer


@pytest.fixture
def wake_ups() -> Iterator[list[tuple[str, float]]]:
    """The woken consumers and the countdowns, in order."""
    sent: list[tuple[str, float]] = []

    def record(consumer: str, countdown: float, **signal: object) -> None:
        sent.append((consumer, countdown))

    messages_available.connect(record)
    yield sent
    messages_available.disconnect(record)


@pytest.fixture
def advance_clock() -> Iterator[Callable[[float], None]]:
    """Stops the clock; `advance_clock(5)` moves it forward by 5 seconds."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller.shift
