from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "orderflow.api"
    label = "api"

    def ready(self) -> None:
        from orderflow.api import schema

        assert schema  # what it says of our own fields is known to the schema from then on
