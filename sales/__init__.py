"""Sales orders and the process that fulfils them. Independent of stock levels and suppliers."""
