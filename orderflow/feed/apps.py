from django.apps import AppConfig

from orderflow.messaging.messages import Event
from orderflow.messaging.subscriptions import subscribe


class FeedConfig(AppConfig):
    name = "orderflow.feed"
    label = "feed"

    def ready(self) -> None:
        from orderflow.feed import receivers, services, tasks

        assert receivers
        subscribe(tasks.CONSUMER, to=[Event], handle=services.number)
