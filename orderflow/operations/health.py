"""The health check at `/healthz`: 503 only when the database is unavailable.

While the broker is unavailable orders are still accepted, and are processed later. A load balancer
must not take the server out of service for that.
"""

from typing import Any

from django.db import Error
from django.http import HttpRequest, JsonResponse

from orderflow.messaging.queries import dead_letter_count, oldest_due_at
from orderflow.messaging.wakeups import is_broker_available


def health(request: HttpRequest) -> JsonResponse:
    body: dict[str, Any] = {"broker": "ok" if is_broker_available() else "unavailable"}
    try:
        body |= {
            "oldest_due_message_at": oldest_due_at(),
            "dead_letter_count": dead_letter_count(),
        }
    except Error:
        return JsonResponse({"database": "unavailable", **body}, status=503)
    return JsonResponse({"database": "ok", **body})
