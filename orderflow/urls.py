"""Which addresses there are."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from orderflow.api import products
from orderflow.console.api import Why
from orderflow.console.health import health

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", health),
    path("api/catalog/products/", products.Products.as_view()),
    path("api/sales/orders/<uuid:pk>/why/", Why.as_view()),
    path("api/sales/", include("sales.urls")),
    path("api/stock/", include("stock.urls")),
    path("api/purchase/", include("purchase.urls")),
]
