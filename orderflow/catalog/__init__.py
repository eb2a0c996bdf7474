"""The products everybody speaks of, and what a quantity is. It knows neither orders nor shelves."""
