"""The paths under `/api/v1/sales/`."""

from django.urls import path

from sales import api

urlpatterns = [
    path("orders/", api.SalesOrderList.as_view()),
    path("orders/bulk/", api.SalesOrderBulkCreateView.as_view()),
    path("orders/<uuid:pk>/", api.SalesOrderDetail.as_view()),
    path("orders/<uuid:pk>/history/", api.SalesOrderHistory.as_view()),
    path("orders/<uuid:pk>/deliver/", api.DeliverSalesOrder.as_view()),
    path("orders/<uuid:pk>/cancel/", api.CancelSalesOrder.as_view()),
    path("orders/<uuid:pk>/change/", api.ChangeSalesOrder.as_view()),
    path("orders/<uuid:pk>/retry/", api.RetrySalesOrder.as_view()),
]
