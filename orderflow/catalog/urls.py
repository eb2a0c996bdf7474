from django.urls import path

from orderflow.catalog import api

urlpatterns = [
    path("products/", api.ProductList.as_view()),
]
