from django.urls import path

from purchase import api

urlpatterns = [
    path("orders/", api.Orders.as_view()),
    path("orders/<uuid:pk>/", api.Order.as_view()),
    path("orders/<uuid:pk>/history/", api.History.as_view()),
    path("orders/<uuid:pk>/receipts/", api.Receipts.as_view()),
    path("orders/<uuid:pk>/receive/", api.Receive.as_view()),
    path("orders/<uuid:pk>/cancel/", api.Cancel.as_view()),
    path("orders/<uuid:pk>/close-short/", api.CloseShort.as_view()),
    path("orders/<uuid:pk>/expect/", api.Expect.as_view()),
]
