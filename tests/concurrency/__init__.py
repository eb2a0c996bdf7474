"""Two at once, on real threads and a real PostgreSQL: each test forces the moment that matters, and knows how it can fail."""
