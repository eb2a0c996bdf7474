"""The same request gets the same answer: `Idempotency-Key`.

The answer is stored in the transaction of the request's effects, so there is never one without the other, whatever is killed.
Two that arrive at once: the key is unique, so the second waits until the first has committed, and then finds its answer.
"""

import hashlib
import json
import re
from collections.abc import Callable

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from orderflow.api.models import StoredAnswer
from orderflow.refusals import Conflict, Refused

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r"[!-~]{1,255}")


class BadIdempotencyKey(Refused):
    """An Idempotency-Key that is empty, too long, or not plain."""

    code = "bad_idempotency_key"

    def __init__(self) -> None:
        super().__init__(f"An {HEADER} has 1 to 255 visible ASCII characters. A random UUID is a good one. Nothing was done.")


class IdempotencyKeyTaken(Conflict):
    """The Idempotency-Key came with another request before."""

    code = "idempotency_key_taken"

    def __init__(self) -> None:
        super().__init__(f"This {HEADER} came with another address or body before. Nothing was done: use a new one.")


def answered_once(request: Request, handle: Callable[[], Response], failed: Callable[[Exception], HttpResponse]) -> HttpResponse:
    """What `handle` answers or, where the same request was answered before, what it was answered.

    Refusals are answers, too; `failed` makes one of an exception, or raises it where it is our own fault. Nothing is stored then.
    Raises `BadIdempotencyKey`, `IdempotencyKeyTaken`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return handle()
    if not _KEY.fullmatch(key):
        raise BadIdempotencyKey()
    fingerprint = _fingerprint(request)
    with transaction.atomic():
        stored = _claimed(request, key, fingerprint)
        if stored.fingerprint != fingerprint:
            raise IdempotencyKeyTaken()
        if stored.status is not None:
            return HttpResponse(stored.body, stored.media_type, stored.status, headers={REPLAYED: "true"})
        response = _handled(handle, failed)
        if response.status_code >= 500:
            transaction.set_rollback(True)
        else:
            _store(stored, response)
        return response


def _claimed(request: Request, key: str, fingerprint: str) -> StoredAnswer:
    """The key's row. Where somebody is just using the key, this waits for the end of their transaction."""
    assert request.user.pk is not None
    mine = StoredAnswer.objects.filter(user=request.user.pk, key=key)
    mine.expired().delete()
    new = StoredAnswer(user_id=request.user.pk, key=key, fingerprint=fingerprint, at=timezone.now())
    StoredAnswer.objects.bulk_create([new], ignore_conflicts=True)
    return mine.get()


def _handled(handle: Callable[[], Response], failed: Callable[[Exception], HttpResponse]) -> HttpResponse:
    try:
        with transaction.atomic():
            return handle()
    except Exception as error:
        return failed(error)


def _store(stored: StoredAnswer, response: HttpResponse) -> None:
    stored.status = response.status_code
    if isinstance(response, Response):
        stored.media_type, content = JSONRenderer.media_type, JSONRenderer().render(response.data)
    else:
        stored.media_type, content = response.headers["Content-Type"], response.content
    stored.body = content.decode()
    stored.save(update_fields=["status", "media_type", "body"])


def _fingerprint(request: Request) -> str:
    said = json.dumps([request.get_full_path(), request.data], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
