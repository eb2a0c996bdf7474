"""The products that every context refers to. Knows neither orders nor stock."""
