from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "orderflow.console"
    label = "console"

    def ready(self) -> None:
        from orderflow.api.reserved import reserved_is_told_by
        from stock.queries import held_for

        reserved_is_told_by(held_for)
