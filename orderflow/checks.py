"""System checks of the settings. manage.py, workers, beat and web processes run them at start."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.management.base import BaseCommand, SystemCheckError
from django.db import connections

BROKER_SCHEMES = ("filesystem", "redis", "rediss")
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", "[::1]", None, ""}
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "glusterfs",
    "ceph",
    "lustre",
    "sshfs",
    "afs",
}
# PostgreSQL settings without which a commit can be lost in a power failure, and their safe values.
DURABILITY = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "remote_write", "remote_apply", "local"},
}

InvalidSettings = SystemCheckError


def validate_settings() -> None:
    """Run the system checks; no database is needed.

    Raises: `InvalidSettings` with every error and how to fix it.
    """
    BaseCommand().check()


@register("orderflow")
def check_settings(**options: Any) -> list[CheckMessage]:
    return [*_broker(), *_secret_key(), *_sqlite(), *_throttle_rates()]


@register("orderflow", Tags.database)
def check_durability(
    *, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """Read the settings of PostgreSQL, in `migrate` and in `check --database default`."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            for name, safe in DURABILITY.items():
                cursor.execute("SELECT current_setting(%s)", [name])
                [value] = cursor.fetchone()
                if value not in safe:
                    text = (
                        f"PostgreSQL runs with {name}={value}: a power failure can lose "
                        "committed data."
                    )
                    hint = f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"
                    found.append(Warning(text, hint=hint, id="orderflow.W001"))
    return found


def _broker() -> Iterator[CheckMessage]:
    url = _broker_url()
    if url is None or url.scheme not in BROKER_SCHEMES:
        problem = f"has the unknown scheme {url.scheme!r}" if url else "is not a URL"
        hint = (
            "Set it to redis://host:6379/0, rediss://host:6379/0?ssl_cert_reqs=required, or "
            "filesystem:// for a local setup."
        )
        yield Error(f"CELERY_BROKER_URL {problem}.", hint=hint, id="orderflow.E001")
    elif url.scheme == "rediss" and "ssl_cert_reqs" not in url.query:
        text = (
            "CELERY_BROKER_URL has no ssl_cert_reqs: the certificate of the Redis server is not "
            "verified."
        )
        yield Warning(text, hint="Append ?ssl_cert_reqs=required.", id="orderflow.W002")
    timeout = settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("visibility_timeout")
    longest = settings.ORDERFLOW_RETRY_COUNTDOWN_MAX
    if timeout is not None and timeout <= longest:
        text = (
            f"ORDERFLOW_VISIBILITY_TIMEOUT={timeout} is not longer than "
            f"ORDERFLOW_RETRY_COUNTDOWN_MAX ({longest:g} s): Redis would deliver each scheduled "
            "wake-up repeatedly."
        )
        hint = "Unset ORDERFLOW_VISIBILITY_TIMEOUT; it is then 60 s longer."
        yield Error(text, hint=hint, id="orderflow.E002")


def _secret_key() -> Iterator[CheckMessage]:
    if settings.SECRET_KEY != settings.INSECURE_DEFAULT_SECRET_KEY:
        return
    public_hosts = [host for host in settings.ALLOWED_HOSTS if host not in LOCAL_HOSTS]
    if public_hosts or not _is_sqlite():
        reason = "DATABASE_URL names a database server"
        if public_hosts:
            reason = f"ORDERFLOW_ALLOWED_HOSTS names {', '.join(public_hosts)}"
        text = (
            f"ORDERFLOW_SECRET_KEY is not set, and {reason}: with the public default key anyone "
            "can forge a session."
        )
        hint = (
            'Set it to the output of `python -c "import secrets; '
            'print(secrets.token_urlsafe(50))"`, the same in each process.'
        )
        yield Error(text, hint=hint, id="orderflow.E003")


def _sqlite() -> Iterator[CheckMessage]:
    if not _is_sqlite():
        return
    url = _broker_url()
    hint = (
        "Set DATABASE_URL to a PostgreSQL database. SQLite is for one machine and needs no "
        "CELERY_BROKER_URL."
    )
    if url and url.hostname not in LOCAL_HOSTS:
        text = (
            f"CELERY_BROKER_URL names the host {url.hostname}, but the database is a SQLite file "
            "on this host, which other hosts cannot use."
        )
        yield Error(text, hint=hint, id="orderflow.E004")
    file = Path(settings.DATABASES["default"]["NAME"])
    file_system = _file_system(file)
    if file_system in NETWORK_FILE_SYSTEMS:
        text = (
            f"The SQLite database {file} is on a network file system ({file_system}), whose locks "
            "are not reliable."
        )
        yield Error(text, hint=hint, id="orderflow.E005")


def _throttle_rates() -> Iterator[CheckMessage]:
    for scope, rate in settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"].items():
        if not re.fullmatch(r"[1-9]\d*/[smhd][a-z]*", rate):
            variable = {
                "user": "ORDERFLOW_THROTTLE_RATE",
                "auth_failures": "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE",
            }[scope]
            hint = "Set it to a number and a period, such as 50/s, 3000/min or 100000/hour."
            text = f"{variable}={rate!r} is not a rate."
            yield Error(text, hint=hint, id="orderflow.E006")


def _broker_url() -> SplitResult | None:
    """Return None for an invalid URL. It may contain a password: never show it."""
    try:
        return urlsplit(settings.CELERY_BROKER_URL)
    except ValueError:
        return None


def _is_sqlite() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3")


def _file_system(file: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the file system that holds the file; "" if it is unknown."""
    if not mounts.exists():
        return ""
    fields = [line.split() for line in mounts.read_text().splitlines()]
    types = {
        Path(mount.replace("\\040", " ")): kind.removeprefix("fuse.")
        for _, mount, kind, *_ in fields
    }
    parents = (file.resolve(), *file.resolve().parents)
    return next((types[each] for each in parents if each in types), "")
