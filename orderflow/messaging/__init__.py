"""The kernel: how contexts talk, in batches, exactly once and in order. It knows no context and no business rule.

The database is the queue; Celery only rings. `publishing` writes a message and who is to get it in the transaction that makes
it true, `consuming` hands messages over and deletes the deliveries in the transaction of their effects.
"""
