"""Messaging between contexts: in order, with exactly-once effects. Imports no context.

The database is the queue; Celery carries wake-ups without data. `publishing` stores a message in
the transaction of the change. `consuming` handles messages and deletes the queued messages in the
transaction of their effects.
"""
