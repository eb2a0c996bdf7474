"""The Django app of Stock. It subscribes to the messages that Stock handles."""

from django.apps import AppConfig

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation


class StockConfig(AppConfig):
    name = "stock"

    def ready(self) -> None:
        import stock.receivers  # noqa: F401  # connects the signal receiver
        from stock import services, tasks

        subscribe(
            tasks.CONSUMER,
            to=[
                MakeReservation,
                ReleaseReservation,
                ShipReservation,
                GoodsReceived,
                PurchaseOrderCancelled,
                PurchaseOrderClosedShort,
            ],
            handle=services.handle_messages,
        )
