"""The admin pages of Sales. Importing this package registers them."""

from sales.admin import order_status, orders

__all__ = ["order_status", "orders"]
