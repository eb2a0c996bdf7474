"""The admin of Sales."""

from sales.admin import orders, processes

__all__ = ["orders", "processes"]
