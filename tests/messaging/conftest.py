from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.utils import timezone

from orderflow.messaging import subscriptions
from orderflow.messaging.signals import messages_available
from orderflow.messaging.subscriptions import Subscription
from tests.messaging.listener import CONSUMER, Listener, Noted


@pytest.fixture
def listener(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Listener:
    listener = Listener()
    subscription = Subscription(consumer=CONSUMER, to=(Noted,), handle=listener.handle)
    monkeypatch.setattr(subscriptions, "_subscriptions", {CONSUMER: subscription})
    return listener


@pytest.fixture
def woken() -> Iterator[list[tuple[str, float]]]:
    """Who was woken, with which countdown."""
    alarms: list[tuple[str, float]] = []

    def note(consumer: str, countdown: float, **signal: object) -> None:
        alarms.append((consumer, countdown))

    messages_available.connect(note)
    yield alarms
    messages_available.disconnect(note)


@pytest.fixture
def later() -> Iterator[Callable[[float], None]]:
    """Moves the clock: `later(5)` is five seconds from now on."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller.shift
