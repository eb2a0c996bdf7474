from django.urls import path

from orderflow.operations import api

urlpatterns = [
    path("orders/<uuid:pk>/explanation/", api.SalesOrderExplanationView.as_view()),
]
