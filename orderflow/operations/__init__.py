"""Operator functions: audit, timeline, explanation, health check, and management commands.

Sees every context and changes none of them: it asks their queries and calls their services.
"""
