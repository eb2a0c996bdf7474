"""The URLs of the project."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from orderflow.api import views
from orderflow.operations.health import health

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", health),
    path("api/v1/catalog/", include("orderflow.catalog.urls")),
    path("api/v1/sales/", include("orderflow.operations.urls")),
    path("api/v1/sales/", include("sales.urls")),
    path("api/v1/stock/", include("stock.urls")),
    path("api/v1/purchase/", include("purchase.urls")),
    path("api/v1/events/", include("orderflow.event_feed.urls")),
    path("api/v1/schema/", views.Schema.as_view(), name="schema"),
    path("api/v1/docs/", views.Docs.as_view()),
    re_path("^api/", views.UnknownEndpoint.as_view()),
]
handler400 = "orderflow.api.problems.bad_request"
handler500 = "orderflow.api.problems.server_error"
