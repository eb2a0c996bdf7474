"""The Django app of Purchase. It subscribes to the messages that Purchase handles."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import CreatePurchaseOrder, ReverseReceipt, WithdrawPurchaseOrder


class PurchaseConfig(AppConfig):
    name = "purchase"

    def ready(self) -> None:
        import purchase.receivers  # noqa: F401  # connects the signal receiver
        from purchase import services, tasks
        from purchase.services.external import handle_external_messages

        external = bool(settings.ORDERFLOW_EXTERNAL_PURCHASE_URL)
        subscribe(
            tasks.CONSUMER,
            to=[CreatePurchaseOrder, WithdrawPurchaseOrder, ReverseReceipt],
            handle=handle_external_messages if external else services.handle_messages,
            transactional=not external,
        )


@register("orderflow")
def check_external_purchase_settings(**options: Any) -> list[Error]:
    url = settings.ORDERFLOW_EXTERNAL_PURCHASE_URL
    if url and not url.startswith(("http://", "https://")):
        message = f"ORDERFLOW_EXTERNAL_PURCHASE_URL={url!r} is not an HTTP URL."
        hint = "Set it to a URL such as https://purchase.example.com."
        return [Error(message, hint=hint, id="purchase.E001")]
    if url and not settings.ORDERFLOW_EXTERNAL_PURCHASE_TOKEN:
        message = (
            "ORDERFLOW_EXTERNAL_PURCHASE_URL is set, but ORDERFLOW_EXTERNAL_PURCHASE_TOKEN is not."
        )
        hint = (
            "On the external system, run manage.py drf_create_token for a user who may add and "
            "change purchase orders. Set ORDERFLOW_EXTERNAL_PURCHASE_TOKEN to the token."
        )
        return [Error(message, hint=hint, id="purchase.E002")]
    return []
