"""The project package: code shared by the three contexts, and code that uses all of them."""
