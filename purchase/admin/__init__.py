"""The admin pages of Purchase. Importing this package registers them."""

from purchase.admin import orders, receipts

__all__ = ["orders", "receipts"]
