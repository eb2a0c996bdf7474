"""Sales orders and the process that fulfils them. Knows neither stock levels nor suppliers."""
