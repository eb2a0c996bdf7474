from django.apps import AppConfig

from orderflow.messaging.messages import Event
from orderflow.messaging.subscriptions import subscribe


class EventFeedConfig(AppConfig):
    name = "orderflow.event_feed"
    label = "feed"
    verbose_name = "Event feed"

    def ready(self) -> None:
        from orderflow.event_feed import receivers, services, tasks

        assert receivers
        subscribe(tasks.CONSUMER, to=[Event], handle=services.append_events)
