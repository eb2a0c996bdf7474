"""The paths under `/api/v1/purchase/`."""

from django.urls import path

from purchase import api

urlpatterns = [
    path("orders/", api.PurchaseOrderList.as_view()),
    path("orders/<uuid:pk>/", api.PurchaseOrderDetail.as_view()),
    path("orders/<uuid:pk>/history/", api.PurchaseOrderHistory.as_view()),
    path("orders/<uuid:pk>/receipts/", api.PurchaseOrderReceipts.as_view()),
    path("orders/<uuid:pk>/receive/", api.ReceivePurchaseOrder.as_view()),
    path("orders/<uuid:pk>/cancel/", api.CancelPurchaseOrder.as_view()),
    path("orders/<uuid:pk>/close-short/", api.ClosePurchaseOrderShort.as_view()),
    path("orders/<uuid:pk>/reschedule/", api.ReschedulePurchaseOrder.as_view()),
    path("external-receipts/", api.ExternalReceiptCreateView.as_view()),
]
