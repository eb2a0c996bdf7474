"""The Celery task of the REST API: delete expired idempotency records."""

from celery import shared_task

from orderflow.api.models import IdempotencyRecord

DELETE_BATCH_SIZE = 1000


@shared_task(name="api.delete_expired_idempotency_records")
def delete_expired_records() -> None:
    """Delete the records that are older than `RETENTION`, in batches. Beat starts this task."""
    expired = IdempotencyRecord.objects.expired().values_list("pk", flat=True)
    while batch := list(expired[:DELETE_BATCH_SIZE]):
        IdempotencyRecord.objects.filter(pk__in=batch).delete()
