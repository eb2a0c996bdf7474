"""The project package: what the three contexts share, and what sees all of them."""
