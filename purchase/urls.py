from django.urls import path

from purchase import api

urlpatterns = [
    path("orders/", api.PurchaseOrders.as_view()),
    path("orders/<uuid:pk>/", api.OnePurchaseOrder.as_view()),
    path("orders/<uuid:pk>/history/", api.PurchaseOrderHistory.as_view()),
    path("orders/<uuid:pk>/receipts/", api.PurchaseOrderReceipts.as_view()),
    path("orders/<uuid:pk>/receive/", api.ReceivePurchaseOrder.as_view()),
    path("orders/<uuid:pk>/cancel/", api.CancelPurchaseOrder.as_view()),
    path("orders/<uuid:pk>/close-short/", api.ClosePurchaseOrderShort.as_view()),
    path("orders/<uuid:pk>/expect/", api.ExpectPurchaseOrder.as_view()),
    path("remote-receipts/", api.RemoteReceipts.as_view()),
]
