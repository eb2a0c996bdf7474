"""Settings that cannot be right are refused before anything starts: by manage.py, worker, beat and web process."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.management.base import BaseCommand, SystemCheckError
from django.db import connections

BROKERS = ("filesystem", "redis", "rediss")
LOCAL = {"localhost", "127.0.0.1", "::1", "[::1]", None, ""}
SHARED_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "glusterfs", "ceph", "lustre", "sshfs", "afs"}
# What a commit must mean. Whoever turns one of these off loses orders with the next power cut.
DURABILITY = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_write", "remote_apply", "local"}}

SettingsAreWrong = SystemCheckError


def assert_settings_are_right() -> None:
    """Raises `SettingsAreWrong`, with everything that is wrong and how to mend it. Needs no database."""
    BaseCommand().check()


@register("orderflow")
def check_settings(**everything: Any) -> list[CheckMessage]:
    return [*_broker(), *_secrets(), *_sqlite(), *_throttling()]


@register("orderflow", Tags.database)
def check_durability(*, databases: Sequence[str] | None = None, **everything: Any) -> list[CheckMessage]:
    """Asked of PostgreSQL itself: by `manage.py migrate` and `manage.py check --database default`."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            for name, good in DURABILITY.items():
                cursor.execute("SELECT current_setting(%s)", [name])
                [value] = cursor.fetchone()
                if value not in good:
                    hint = f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"
                    what = f"PostgreSQL runs with {name}={value}: what was committed can be lost in a power cut."
                    found.append(Warning(what, hint=hint, id="orderflow.W001"))
    return found


def _broker() -> Iterator[CheckMessage]:
    url = _broker_url()
    if url is None or url.scheme not in BROKERS:
        what = f"has the unknown scheme {url.scheme!r}" if url else "is no address"
        hint = "Give redis://host:6379/0, rediss://host:6379/0?ssl_cert_reqs=required, or filesystem:// for trying out."
        yield Error(f"CELERY_BROKER_URL {what}.", hint=hint, id="orderflow.E001")
    elif url.scheme == "rediss" and "ssl_cert_reqs" not in url.query:
        what = "CELERY_BROKER_URL does not say ssl_cert_reqs: whoever answers there is believed to be Redis."
        yield Warning(what, hint="Append ?ssl_cert_reqs=required.", id="orderflow.W002")
    timeout = settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("visibility_timeout")
    if timeout is not None and timeout <= settings.ORDERFLOW_LONGEST_COUNTDOWN:
        what = (
            f"ORDERFLOW_VISIBILITY_TIMEOUT={timeout} is no longer than the longest countdown "
            f"({settings.ORDERFLOW_LONGEST_COUNTDOWN:g} s): Redis would hand out each timer again and again."
        )
        yield Error(what, hint="Leave it unset: it is then a minute longer.", id="orderflow.E002")


def _secrets() -> Iterator[CheckMessage]:
    if settings.SECRET_KEY != settings.PUBLISHED_SECRET_KEY:
        return
    elsewhere = [host for host in settings.ALLOWED_HOSTS if host not in LOCAL]
    if elsewhere or not _is_sqlite():
        why = f"ORDERFLOW_HOSTS names {', '.join(elsewhere)}" if elsewhere else "DATABASE_URL names a database server"
        what = f"ORDERFLOW_SECRET_KEY is not set, and {why}: with the published key anybody can forge a session."
        hint = 'Set it to what `python -c "import secrets; print(secrets.token_urlsafe(50))"` prints, the same in each process.'
        yield Error(what, hint=hint, id="orderflow.E003")


def _sqlite() -> Iterator[CheckMessage]:
    if not _is_sqlite():
        return
    url = _broker_url()
    hint = "Set DATABASE_URL to a PostgreSQL database: SQLite is for one machine, and needs no CELERY_BROKER_URL."
    if url and url.hostname not in LOCAL:
        what = f"The broker is on {url.hostname}, for workers on several hosts, and the database is a file on this one."
        yield Error(what, hint=hint, id="orderflow.E004")
    file = Path(settings.DATABASES["default"]["NAME"])
    kind = _file_system(file)
    if kind in SHARED_FILE_SYSTEMS:
        what = f"The SQLite database {file} is on a network file system ({kind}), whose locks cannot be relied on."
        yield Error(what, hint=hint, id="orderflow.E005")


def _throttling() -> Iterator[CheckMessage]:
    for name, rate in settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"].items():
        if not re.fullmatch(r"[1-9]\d*/[smhd][a-z]*", rate):
            variable = "ORDERFLOW_THROTTLE" if name == "user" else "ORDERFLOW_THROTTLE_FAILURES"
            hint = "Give a number and a period, such as 50/s, 3000/min, 100000/hour or 1000000/day."
            yield Error(f"{variable}={rate!r} is no rate.", hint=hint, id="orderflow.E006")


def _broker_url() -> SplitResult | None:
    """None: it cannot be read. It may hold a password, and is not to be shown."""
    try:
        return urlsplit(settings.CELERY_BROKER_URL)
    except ValueError:
        return None


def _is_sqlite() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3")


def _file_system(file: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """What kind of file system a file is on; empty where the system does not say."""
    if not mounts.exists():
        return ""
    words = [line.split() for line in mounts.read_text().splitlines()]
    kinds = {Path(where.replace("\\040", " ")): kind.removeprefix("fuse.") for _, where, kind, *_ in words}
    return next((kinds[each] for each in (file.resolve(), *file.resolve().parents) if each in kinds), "")
