"""Customers' orders, and the process that fulfils them. It does not know what lies on the shelf, nor how suppliers work."""
