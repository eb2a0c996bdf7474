"""Whether Orderflow works, for whoever watches it: 503 only when the database is away; the rest is in the body."""

from django.db import Error
from django.http import HttpRequest, JsonResponse

from orderflow.messaging.queries import dead_letter_count, oldest_overdue


def health(request: HttpRequest) -> JsonResponse:
    try:
        overdue = oldest_overdue()
        body = {"database": "ok", "oldest_overdue_delivery": overdue, "dead_letters": dead_letter_count()}
    except Error:
        return JsonResponse({"database": "away"}, status=503)
    return JsonResponse(body)
