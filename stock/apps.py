from django.apps import AppConfig

from orderflow.messaging.subscriptions import subscribe
from purchase.contract import GoodsReceived
from stock.contract import MakeReservation, ShipReservation


class StockConfig(AppConfig):
    name = "stock"

    def ready(self) -> None:
        from stock import receivers, services, tasks

        assert receivers
        subscribe(tasks.CONSUMER, to=[MakeReservation, ShipReservation, GoodsReceived], handle=services.take)
