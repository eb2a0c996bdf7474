"""The messaging kernel: how contexts communicate, exactly once and in order. Knows no context.

The database is the queue; Celery carries wake-ups without data. `publishing` stores a message in
the transaction that makes it true. `consuming` handles messages and deletes the queued messages in
the transaction of their effects.
"""
