from django.apps import AppConfig

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder, ReverseReceipt


class PurchaseConfig(AppConfig):
    name = "purchase"

    def ready(self) -> None:
        from purchase import receivers, services, tasks

        assert receivers
        subscribe(tasks.CONSUMER, to=[CreatePurchaseOrder, CancelPurchaseOrder, ReverseReceipt], handle=services.take)
