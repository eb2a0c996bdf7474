from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "orderflow.operations"
    label = "operations"

    def ready(self) -> None:
        from orderflow.api.reserved_quantities import register_reserved_provider
        from stock.queries import reserved_quantities

        register_reserved_provider(reserved_quantities)
