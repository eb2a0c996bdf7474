"""Operator functions: audit, timeline, explanation, health check, and management commands.

This package may import every context; no context may import it. It reads through their queries
and changes data only through their services.
"""
