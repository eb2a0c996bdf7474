from django.apps import AppConfig


class OrderflowConfig(AppConfig):
    name = "orderflow"
    label = "orderflow"

    def ready(self) -> None:
        from orderflow import checks

        assert checks
