from django.urls import path

from purchase import api

urlpatterns = [
    path("orders/", api.Orders.as_view()),
    path("orders/<uuid:pk>/", api.Order.as_view()),
    path("orders/<uuid:pk>/receive/", api.Receive.as_view()),
]
