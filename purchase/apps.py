from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import CancelPurchaseOrder, CreatePurchaseOrder, ReverseReceipt


class PurchaseConfig(AppConfig):
    name = "purchase"

    def ready(self) -> None:
        from purchase import receivers, services, tasks
        from purchase.services.elsewhere import take_elsewhere

        assert receivers
        elsewhere = bool(settings.ORDERFLOW_PURCHASE_URL)
        subscribe(
            tasks.CONSUMER,
            to=[CreatePurchaseOrder, CancelPurchaseOrder, ReverseReceipt],
            handle=take_elsewhere if elsewhere else services.take,
            outside=elsewhere,
        )


@register("orderflow")
def check_the_other_purchase(**everything: Any) -> list[Error]:
    url, token = settings.ORDERFLOW_PURCHASE_URL, settings.ORDERFLOW_PURCHASE_TOKEN
    if url and not url.startswith(("http://", "https://")):
        hint = "Give its address, such as https://purchase.example.com."
        return [Error(f"ORDERFLOW_PURCHASE_URL={url!r} is no address of HTTP.", hint=hint, id="purchase.E001")]
    if url and not token:
        hint = "On that server: manage.py drf_create_token, for a user who may add and change purchase orders."
        return [Error("ORDERFLOW_PURCHASE_URL is set, ORDERFLOW_PURCHASE_TOKEN is not.", hint=hint, id="purchase.E002")]
    return []
