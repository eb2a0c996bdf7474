"""Invalid settings prevent every start, and the error says how to fix them."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.db import connection

from orderflow import checks
from orderflow.operations.management.processes import beat, web, worker

CHECK = [sys.executable, "manage.py", "check"]
SERVER = {
    "DATABASE_URL": "postgresql://orderflow@127.0.0.1/orderflow",
    "ORDERFLOW_SECRET_KEY": "x" * 50,
}
REDIS = {"CELERY_BROKER_URL": "redis://127.0.0.1/0"}
# Environments, and what their errors contain by id.
INVALID: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
    (
        {"CELERY_BROKER_URL": "carrier-pigeon://coop", "ORDERFLOW_THROTTLE_RATE": "many"},
        {
            "orderflow.E001": "Set it to redis://host:6379/0",
            "orderflow.E004": "Set DATABASE_URL to a PostgreSQL database.",
            "orderflow.E006": "3000/min",
        },
    ),
    (
        {
            "CELERY_BROKER_URL": "redis://:p[ss@host/0",
            "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE": "0/min",
        },
        {
            "orderflow.E001": "CELERY_BROKER_URL is not a URL.",
            "orderflow.E006": "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE=",
        },
    ),
    (
        {**SERVER, **REDIS, "ORDERFLOW_VISIBILITY_TIMEOUT": "240", "ORDERFLOW_SECRET_KEY": ""},
        {
            "orderflow.E002": "Unset ORDERFLOW_VISIBILITY_TIMEOUT",
            "orderflow.E003": "token_urlsafe",
        },
    ),
    (
        {
            "ORDERFLOW_SECRET_KEY": "",
            "ORDERFLOW_ALLOWED_HOSTS": "shop.example.com,localhost",
            "CELERY_BROKER_URL": "redis://broker.example.com/0",
        },
        {"orderflow.E003": "names shop.example.com:", "orderflow.E004": "Set DATABASE_URL"},
    ),
]


def _run(
    command: list[str], tmp_path: Path, settings: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    removed = ("DATABASE_URL", "CELERY_BROKER_URL", "ORDERFLOW_", "DJANGO_SETTINGS_MODULE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    environment = {**inherited, "ORDERFLOW_DATA_DIR": str(tmp_path), **settings}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(("settings", "errors"), INVALID)
def test_invalid_settings_prevent_commands(
    tmp_path: Path, settings: Mapping[str, str], errors: Mapping[str, str]
) -> None:
    result = _run(CHECK, tmp_path, settings)
    assert result.returncode == 1
    printed = dict(re.findall(r"\((orderflow\.E\d+)\)(.*?)(?=\n\S|\Z)", result.stderr, re.DOTALL))
    assert printed.keys() == errors.keys()
    assert all(text in printed[check_id] for check_id, text in errors.items()), printed
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command", [worker(), beat(), web(address="127.0.0.1:0")], ids=["worker", "beat", "web"]
)
def test_invalid_settings_prevent_processes(tmp_path: Path, command: list[str]) -> None:
    result = _run(command, tmp_path, {"ORDERFLOW_ALLOWED_HOSTS": "shop.example.com"})
    assert result.returncode in (1, 3)
    assert (
        "(orderflow.E003) ORDERFLOW_SECRET_KEY is not set, and ORDERFLOW_ALLOWED_HOSTS names "
        "shop.example.com:" in result.stderr
    )
    assert "HINT: Set it to the output of" in result.stderr
    assert "Traceback" not in result.stderr


def test_default_settings_pass_checks(tmp_path: Path) -> None:
    rates = {
        "ORDERFLOW_THROTTLE_RATE": "100/minute",
        "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE": "5/second",
    }
    for settings in ({}, {**SERVER, **REDIS, **rates}):
        assert _run(CHECK, tmp_path, settings).returncode == 0


def test_tls_without_certificate_verification_is_a_warning(tmp_path: Path) -> None:
    broker = "rediss://:secret@redis.example.com/0"
    result = _run(CHECK, tmp_path, {**SERVER, "CELERY_BROKER_URL": broker})
    assert result.returncode == 0
    assert "orderflow.W002" in result.stderr
    assert "secret" not in result.stderr
    verified = {**SERVER, "CELERY_BROKER_URL": f"{broker}?ssl_cert_reqs=required"}
    assert "W002" not in _run(CHECK, tmp_path, verified).stderr


def test_rejects_sqlite_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "my share"
    mounted = [
        "/dev/sda1 / ext4 rw 0 0",
        f"s:/e {tmp_path} nfs4 rw 0 0",
        f"s {tmp_path}/my\\040share fuse.glusterfs rw 0 0",
    ]
    mounts.write_text("\n".join(mounted))
    assert checks._file_system(share / "orderflow.sqlite3", mounts) == "glusterfs"
    assert checks._file_system(tmp_path / "orderflow.sqlite3", mounts) == "nfs4"
    assert checks._file_system(Path("/etc/hosts"), mounts) == "ext4"
    monkeypatch.setattr(checks, "_file_system", lambda file: "nfs4")
    assert [each.id for each in checks.check_settings()] == ["orderflow.E005"]


@pytest.mark.postgresql_only
def test_postgresql_without_durable_commits_is_a_warning(db: None) -> None:
    assert checks.check_durability(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    [warning] = checks.check_durability(databases=["default"])
    assert (warning.id, warning.msg) == (
        "orderflow.W001",
        "PostgreSQL runs with synchronous_commit=off: a power failure can lose committed data.",
    )
