"""Purchase orders and receipts. Knows neither sales orders nor why goods are purchased."""
