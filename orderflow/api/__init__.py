"""A toolkit for REST endpoints: request bodies, problems, pagination, permissions, schema.

Knows neither the catalog nor any context. Its only table holds idempotency records.
"""
