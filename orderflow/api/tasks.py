"""Beat's door: answers that nobody will ask for again are forgotten."""

from celery import shared_task

from orderflow.api.models import StoredAnswer

FORGOTTEN_AT_ONCE = 1000


@shared_task(name="messaging.forget_answers")
def forget_answers() -> None:
    while old := list(StoredAnswer.objects.expired().values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
        StoredAnswer.objects.filter(pk__in=old).delete()
