"""Stock levels and reservations. Independent of customers and suppliers."""
