from django.urls import path

from sales import api

urlpatterns = [
    path("orders/", api.SalesOrders.as_view()),
    path("orders/bulk/", api.SalesOrdersInBulk.as_view()),
    path("orders/<uuid:pk>/", api.OneSalesOrder.as_view()),
    path("orders/<uuid:pk>/history/", api.SalesOrderHistory.as_view()),
    path("orders/<uuid:pk>/deliver/", api.DeliverSalesOrder.as_view()),
    path("orders/<uuid:pk>/cancel/", api.CancelSalesOrder.as_view()),
    path("orders/<uuid:pk>/change/", api.ChangeSalesOrder.as_view()),
    path("orders/<uuid:pk>/try-again/", api.TrySalesOrderAgain.as_view()),
]
