"""Code that every other package may import. No models, no endpoints, no business decisions."""
