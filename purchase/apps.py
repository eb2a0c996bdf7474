from django.apps import AppConfig

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import CreatePurchaseOrder


class PurchaseConfig(AppConfig):
    name = "purchase"

    def ready(self) -> None:
        from purchase import receivers, services, tasks

        assert receivers
        subscribe(tasks.CONSUMER, to=[CreatePurchaseOrder], handle=services.take)
