"""The admin pages of Purchase."""

from purchase.admin import orders, receipts

__all__ = ["orders", "receipts"]
