"""The paths under `/api/v1/stock/`."""

from django.urls import path

from stock import api

urlpatterns = [
    path("levels/", api.StockLevelList.as_view()),
    path("adjustments/", api.StockAdjustmentCreateView.as_view()),
    path("receipt-reversals/", api.ReceiptReversalCreateView.as_view()),
    path("reservations/", api.ReservationList.as_view()),
]
