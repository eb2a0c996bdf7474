"""What cannot be right stops the start, and says what to do."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.db import connection

from orderflow import checks
from orderflow.management.processes import beat, web, worker

SERVER = {"DATABASE_URL": "postgresql://orderflow@127.0.0.1/orderflow", "ORDERFLOW_SECRET_KEY": "x" * 50}
REDIS = {"CELERY_BROKER_URL": "redis://127.0.0.1/0"}
WRONG: list[tuple[str, Mapping[str, str], str]] = [
    ("orderflow.E001", {"CELERY_BROKER_URL": "carrier-pigeon://coop"}, "Give redis://"),
    ("orderflow.E001", {"CELERY_BROKER_URL": "redis://:p[ss@host/0"}, "is no address"),
    ("orderflow.E002", {**REDIS, "ORDERFLOW_VISIBILITY_TIMEOUT": "240"}, "Leave it unset"),
    ("orderflow.E003", {**SERVER, "ORDERFLOW_SECRET_KEY": ""}, "token_urlsafe"),
    ("orderflow.E003", {"ORDERFLOW_SECRET_KEY": "", "ORDERFLOW_HOSTS": "shop.example.com,localhost"}, "names shop.example.com"),
    ("orderflow.E004", {"CELERY_BROKER_URL": "redis://broker.example.com/0"}, "PostgreSQL"),
    ("orderflow.E006", {"ORDERFLOW_THROTTLE": "many"}, "3000/min"),
    ("orderflow.E006", {"ORDERFLOW_THROTTLE_FAILURES": "0/min"}, "ORDERFLOW_THROTTLE_FAILURES="),
]


def _run(command: list[str], tmp_path: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    own = ("DATABASE_URL", "CELERY_BROKER_URL", "ORDERFLOW_", "DJANGO_SETTINGS_MODULE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment = {**inherited, "ORDERFLOW_VAR": str(tmp_path), **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.embedded
@pytest.mark.parametrize(("check", "settings", "hint"), WRONG)
def test_wrong_settings_stop_every_command(tmp_path: Path, check: str, settings: Mapping[str, str], hint: str) -> None:
    ended = _run([sys.executable, "manage.py", "check"], tmp_path, settings)
    assert ended.returncode == 1
    assert check in ended.stderr
    assert hint in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.embedded
@pytest.mark.parametrize("command", [worker(), beat(), web(address="127.0.0.1:0")], ids=["worker", "beat", "web"])
def test_wrong_settings_stop_every_process(tmp_path: Path, command: list[str]) -> None:
    ended = _run(command, tmp_path, {"ORDERFLOW_HOSTS": "shop.example.com"})
    assert ended.returncode in (1, 3)
    assert "(orderflow.E003) ORDERFLOW_SECRET_KEY is not set, and ORDERFLOW_HOSTS names shop.example.com" in ended.stderr
    assert "HINT: Set it to what" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.embedded
def test_the_default_is_right(tmp_path: Path) -> None:
    assert _run([sys.executable, "manage.py", "check"], tmp_path, {}).returncode == 0
    assert _run([sys.executable, "manage.py", "check"], tmp_path, {**SERVER, **REDIS}).returncode == 0
    of_drf = {"ORDERFLOW_THROTTLE": "100/minute", "ORDERFLOW_THROTTLE_FAILURES": "5/second"}
    assert _run([sys.executable, "manage.py", "check"], tmp_path, of_drf).returncode == 0


@pytest.mark.embedded
def test_tls_without_certificates_is_warned_of(tmp_path: Path) -> None:
    broker = "rediss://:secret@redis.example.com/0"
    ended = _run([sys.executable, "manage.py", "check"], tmp_path, {**SERVER, "CELERY_BROKER_URL": broker})
    assert ended.returncode == 0
    assert "orderflow.W002" in ended.stderr
    assert "secret" not in ended.stderr
    careful = {**SERVER, "CELERY_BROKER_URL": f"{broker}?ssl_cert_reqs=required"}
    assert "W002" not in _run([sys.executable, "manage.py", "check"], tmp_path, careful).stderr


@pytest.mark.embedded
def test_a_network_file_system_is_no_place_for_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "my share"
    mounted = ["/dev/sda1 / ext4 rw 0 0", f"s:/e {tmp_path} nfs4 rw 0 0", f"s {tmp_path}/my\\040share fuse.glusterfs rw 0 0"]
    mounts.write_text("\n".join(mounted))
    assert checks._file_system(share / "orderflow.sqlite3", mounts) == "glusterfs"
    assert checks._file_system(tmp_path / "orderflow.sqlite3", mounts) == "nfs4"
    assert checks._file_system(Path("/etc/hosts"), mounts) == "ext4"
    monkeypatch.setattr(checks, "_file_system", lambda file: "nfs4")
    assert [each.id for each in checks.check_settings()] == ["orderflow.E005"]


@pytest.mark.postgresql
def test_a_postgresql_that_forgets_is_warned_of(db: None) -> None:
    assert checks.check_durability(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    [warning] = checks.check_durability(databases=["default"])
    assert (warning.id, warning.msg) == (
        "orderflow.W001",
        "PostgreSQL runs with synchronous_commit=off: what was committed can be lost in a power cut.",
    )
