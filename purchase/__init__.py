"""Purchase orders and receipts. Independent of sales orders and stock levels."""
