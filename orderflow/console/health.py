"""Whether Orderflow works, for whoever watches it: 503 only when the database is away; the rest is in the body.

Without a broker orders are accepted all the same, and wait for it: a load balancer must not turn customers away.
"""

from typing import Any

from django.db import Error
from django.http import HttpRequest, JsonResponse

from orderflow.messaging.queries import dead_letter_count, oldest_overdue
from orderflow.messaging.waking import broker_answers


def health(request: HttpRequest) -> JsonResponse:
    body: dict[str, Any] = {"broker": "ok" if broker_answers() else "away"}
    try:
        overdue = oldest_overdue()
        body |= {"database": "ok", "oldest_overdue_delivery": overdue, "dead_letters": dead_letter_count()}
    except Error:
        return JsonResponse({"database": "away", **body}, status=503)
    return JsonResponse(body)
