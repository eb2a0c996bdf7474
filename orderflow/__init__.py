"""The project: what the three contexts share, and what sees all of them. It takes no business decision."""

from orderflow.celery import app as celery_app

__all__ = ["celery_app"]
