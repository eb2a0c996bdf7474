"""The Django app of Sales. It subscribes to the messages that Sales handles."""

from django.apps import AppConfig

from orderflow.messaging.subscriptions import register_key_label, subscribe
from purchase.contract import (
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    PurchaseOrderOverdue,
    PurchaseOrderRescheduled,
)
from stock.contract import ReservationAccepted, ReservationRejected


class SalesConfig(AppConfig):
    name = "sales"

    def ready(self) -> None:
        import sales.receivers  # noqa: F401  # connects the signal receiver
        from sales import queries, services, tasks
        from sales.process_manager import RetryReservation

        register_key_label(queries.reference_for_key)
        subscribe(
            tasks.CONSUMER,
            to=[
                ReservationAccepted,
                ReservationRejected,
                GoodsReceived,
                PurchaseOrderCancelled,
                PurchaseOrderClosedShort,
                PurchaseOrderRescheduled,
                PurchaseOrderOverdue,
                RetryReservation,
            ],
            handle=services.handle_messages,
        )
