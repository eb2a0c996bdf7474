from django.apps import AppConfig

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort
from stock.contract import MakeReservation, ReleaseReservation, ShipReservation


class StockConfig(AppConfig):
    name = "stock"

    def ready(self) -> None:
        from stock import receivers, services, tasks

        assert receivers
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
