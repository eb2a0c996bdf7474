import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orderflow.operations.management.processes import beat, running, web, worker

ADMIN = "admin"
WEB_TIMEOUT = 20.0  # seconds until the web process must accept connections
POLL_INTERVAL = 0.5  # seconds


class Command(BaseCommand):
    help = "Runs the web process, a worker and beat until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="default: 8000")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        _check_port(host, port)
        call_command("migrate", verbosity=0)
        login = _admin_login(Path(settings.ORDERFLOW_DATA_DIR) / "admin-password")
        address = f"{host}:{port}"
        try:
            with running(web(address=address), worker(), beat()) as processes:
                if _is_reachable(host, port, processes):
                    self.stdout.write(
                        f"Orderflow is running at http://{address}/admin/. {login} "
                        "Press Ctrl-C to stop it."
                    )
                elif all(each.poll() is None for each in processes):
                    self.stderr.write(
                        f"The web process does not accept connections after {WEB_TIMEOUT:g} s. "
                        "Its messages are shown above."
                    )
                exited = _wait_for_exit(processes)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        else:
            command = " ".join(str(each) for each in cast("list[str]", exited.args)[2:])
            raise CommandError(
                f"{command} exited with status {exited.returncode}; all other processes were "
                "stopped. Its messages are shown above."
            )


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            raise CommandError(
                f"Port {port} of {host} cannot be used: {reason}. Stop the program that uses the "
                "port, or choose another port with --port."
            ) from None


def _is_reachable(host: str, port: int, processes: list[subprocess.Popen[bytes]]) -> bool:
    """Wait until the web process accepts connections; return False if it does not.

    The wait ends after the timeout, or when a process exits.
    """
    deadline = time.monotonic() + WEB_TIMEOUT
    while time.monotonic() < deadline and all(each.poll() is None for each in processes):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return True
        time.sleep(0.1)
    return False


def _wait_for_exit(processes: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Return the first process that exits."""
    while True:
        for process in processes:
            if process.poll() is not None:
                return process
        time.sleep(POLL_INTERVAL)


def _admin_login(file: Path) -> str:
    """Return how to log in.

    If there is no superuser, create one with a random password and store it in the file.
    """
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.objects.create_superuser(ADMIN, password=password)
        file.touch(mode=0o600)
        file.write_text(password)
    admin = users.objects.filter(username=ADMIN).first()
    password = file.read_text() if file.exists() else ""
    if admin and password and admin.check_password(password):
        return f"Log in as {ADMIN} with the password {password}."
    return "Log in with your account; `manage.py changepassword USER` sets a new password."
