"""Helpers of the REST tests: HTTP requests to gunicorn, as `start` runs it."""

import importlib
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from rest_framework.authtoken.models import Token

from orderflow.api.schema import GENERAL, domain_errors
from orderflow.operations.management import processes
from tests.conftest import database_environment
from tests.end_to_end.conftest import assert_eventually, stop
from tests.fork_server import fork_server


def known_codes() -> set[str]:
    """Return the codes of the schema and of the documentation."""
    importlib.import_module("orderflow.urls")  # loads every error class
    return {*GENERAL, *(error.code for error in domain_errors())}


class Api:
    """A client with one token; it checks that every error response is a valid problem."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self.token = url, token or ""
        self._http = requests.Session()
        if token:
            self._http.headers["Authorization"] = f"Token {token}"

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._http.request(method, f"{self.url}/api/v1/{path}", timeout=40, **options)
        if response.status_code >= 400:
            assert response.headers["Content-Type"] == "application/problem+json", response.text
            problem = response.json()
            assert problem["code"] in known_codes()
            assert problem["status"] == response.status_code
            assert problem["type"] == f"urn:orderflow:problem:{problem['code']}"
            assert problem["title"]
            assert problem["detail"]
        return response

    def get(self, path: str, *, expect: int = 200, **params: Any) -> Any:
        return _body(self.send("GET", path, params=params), expect)

    def post(self, path: str, body: Any, *, expect: int = 201, key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return _body(self.send("POST", path, json=body, headers=headers), expect)


def _body(response: requests.Response, expect: int) -> Any:
    assert response.status_code == expect, response.text
    return response.json()


@pytest.fixture(scope="session")
def server(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a web server that all tests share."""
    with django_db_blocker.unblock():
        environment = database_environment()
    url = f"127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("web") / "log"
    fork = fork_server(frozenset({**environment, **UNTHROTTLED}.items()))
    program = fork.start(processes.web(address=url), log)
    try:
        assert_eventually(lambda: responds(f"http://{url}"))
        yield f"http://{url}"
    finally:
        stop(program, grace=2)
    assert "Traceback" not in log.read_text()


UNTHROTTLED = {
    "ORDERFLOW_THROTTLE_RATE": "1000000/min",
    "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE": "1000000/min",
}


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def responds(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def api(transactional_db: None, server: str) -> Api:
    """A client of the superuser `ada`."""
    return Api(server, token_of("ada", superuser=True))


def token_of(
    name: str,
    *,
    superuser: bool = False,
    groups: tuple[str, ...] = (),
    permissions: tuple[str, ...] = (),
) -> str:
    users = get_user_model()
    user = users.objects.create_superuser(name) if superuser else users.objects.create_user(name)
    user.groups.set(Group.objects.filter(name__in=groups))
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return str(Token.objects.create(user=user).key)


def create_groups() -> None:
    """Create the groups again, as the migration does: tests delete all rows."""
    importlib.import_module("orderflow.migrations.0001_groups").create_groups(apps, None)
