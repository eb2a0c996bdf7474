from django.urls import path

from sales import api

urlpatterns = [
    path("orders/", api.Orders.as_view()),
    path("orders/<uuid:pk>/", api.Order.as_view()),
    path("orders/<uuid:pk>/history/", api.History.as_view()),
    path("orders/<uuid:pk>/deliver/", api.Deliver.as_view()),
    path("orders/<uuid:pk>/cancel/", api.Cancel.as_view()),
    path("orders/<uuid:pk>/change/", api.Change.as_view()),
    path("orders/<uuid:pk>/try-again/", api.TryAgain.as_view()),
]
