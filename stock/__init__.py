"""Stock levels and reservations. Knows neither customers nor why goods are purchased."""
