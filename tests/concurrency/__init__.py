"""Two transactions at the same time, in real threads on PostgreSQL.

Each test stops a thread at the critical moment, and a comment says without what it fails.
"""
