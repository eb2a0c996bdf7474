from django.apps import AppConfig

from orderflow.messaging.subscriptions import name_keys, subscribe
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderExpected,
    PurchaseOrderOverdue,
)
from stock.contract import ReservationAccepted, ReservationRejected


class SalesConfig(AppConfig):
    name = "sales"

    def ready(self) -> None:
        from sales import queries, receivers, services, tasks
        from sales.process_manager import RetryReservation

        assert receivers
        name_keys(queries.reference_of)
        subscribe(
            tasks.CONSUMER,
            to=[
                ReservationAccepted,
                ReservationRejected,
                GoodsReceived,
                PurchaseOrderCancelled,
                PurchaseOrderClosedShort,
                PurchaseOrderExpected,
                PurchaseOrderOverdue,
                RetryReservation,
            ],
            handle=services.advance,
        )
