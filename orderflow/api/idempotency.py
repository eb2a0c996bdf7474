"""`Idempotency-Key`: a repeated request gets the stored response.

The response is stored in the transaction of the request's effects, so a crash leaves both or
neither. The key is unique: of two concurrent requests the second waits for the first to commit,
and then finds its response.
"""

import hashlib
import json
import re
from collections.abc import Callable
from http import HTTPStatus

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from orderflow.api.models import IdempotencyRecord
from orderflow.core.errors import DomainError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r"[!-~]{1,255}")


class IdempotencyKeyInvalid(DomainError):
    """The Idempotency-Key is not 1 to 255 visible ASCII characters."""

    code = "idempotency_key_invalid"
    http_status = HTTPStatus.BAD_REQUEST

    def __init__(self) -> None:
        super().__init__(
            f"The {HEADER} header must have 1 to 255 visible ASCII characters. "
            "Use a random UUID. No changes were made."
        )


class IdempotencyKeyReused(DomainError):
    """The Idempotency-Key was used before with another path or body."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            f"This {HEADER} was used before with another path or body. Use a new key. "
            "No changes were made."
        )


def idempotent_response(
    request: Request,
    handle: Callable[[], Response],
    to_response: Callable[[Exception], HttpResponse],
) -> HttpResponse:
    """Return the response of `handle`, or the stored response of the same request.

    Rejections are stored too. `to_response` turns an exception into a response, or raises it if it
    is a server error; then nothing is stored.
    Raises: `IdempotencyKeyInvalid`, `IdempotencyKeyReused`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return handle()
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid()
    fingerprint = _fingerprint(request)
    with transaction.atomic():
        record = _claim(request, key, fingerprint)
        if record.fingerprint != fingerprint:
            raise IdempotencyKeyReused()
        if record.http_status is not None:
            return HttpResponse(
                record.body, record.media_type, record.http_status, headers={REPLAYED: "true"}
            )
        response = _handle(handle, to_response)
        if response.status_code >= 500:
            transaction.set_rollback(True)
        else:
            _store(record, response)
        return response


def _claim(request: Request, key: str, fingerprint: str) -> IdempotencyRecord:
    """Return the record of the key; waits while another transaction inserts it."""
    assert request.user.pk is not None
    records = IdempotencyRecord.objects.filter(user=request.user.pk, key=key)
    records.expired().delete()
    new = IdempotencyRecord(
        user_id=request.user.pk, key=key, fingerprint=fingerprint, created_at=timezone.now()
    )
    IdempotencyRecord.objects.bulk_create([new], ignore_conflicts=True)
    return records.get()


def _handle(
    handle: Callable[[], Response], to_response: Callable[[Exception], HttpResponse]
) -> HttpResponse:
    try:
        with transaction.atomic():
            return handle()
    except Exception as error:
        return to_response(error)


def _store(record: IdempotencyRecord, response: HttpResponse) -> None:
    record.http_status = response.status_code
    if isinstance(response, Response):
        record.media_type, content = JSONRenderer.media_type, JSONRenderer().render(response.data)
    else:
        record.media_type, content = response.headers["Content-Type"], response.content
    record.body = content.decode()
    record.save(update_fields=["http_status", "media_type", "body"])


def _fingerprint(request: Request) -> str:
    content = json.dumps([request.get_full_path(), request.data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
