from django.urls import path

from stock import api

urlpatterns = [
    path("levels/", api.Levels.as_view()),
    path("adjustments/", api.Adjustments.as_view()),
    path("reversals/", api.Reversals.as_view()),
    path("reservations/", api.Reservations.as_view()),
]
