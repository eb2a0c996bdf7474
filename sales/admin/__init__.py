"""The admin pages of Sales."""

from sales.admin import order_status, orders

__all__ = ["order_status", "orders"]
