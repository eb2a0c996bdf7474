"""What may go wrong: simulated, explored, and done to real processes and servers. Nothing here is known to the product's code."""
