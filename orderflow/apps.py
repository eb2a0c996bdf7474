from django.apps import AppConfig

# The Celery application must exist before the first task is defined. It is loaded here and not in
# `orderflow/__init__.py`, so that the pure rules do not load Celery and Django.
from orderflow.celery import app as celery_app

__all__ = ["OrderflowConfig", "celery_app"]


class OrderflowConfig(AppConfig):
    name = "orderflow"
    label = "orderflow"

    def ready(self) -> None:
        from orderflow import checks

        assert checks
