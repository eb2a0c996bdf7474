from django.urls import path

from orderflow.event_feed import api

urlpatterns = [
    path("", api.Events.as_view()),
]
