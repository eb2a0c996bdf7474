"""Which addresses there are."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from orderflow.api import docs, products
from orderflow.console.api import WhyItWaitsView
from orderflow.console.health import health
from orderflow.feed.api import Events

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", health),
    path("api/catalog/products/", products.Products.as_view()),
    path("api/sales/orders/<uuid:pk>/why/", WhyItWaitsView.as_view()),
    path("api/sales/", include("sales.urls")),
    path("api/stock/", include("stock.urls")),
    path("api/purchase/", include("purchase.urls")),
    path("api/events/", Events.as_view()),
    path("api/schema/", docs.Schema.as_view(), name="schema"),
    path("api/docs/", docs.Docs.as_view()),
    re_path("^api/", docs.Nothing.as_view()),
]
handler400 = "orderflow.api.problems.bad_request"
handler500 = "orderflow.api.problems.server_error"
