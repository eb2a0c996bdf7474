import secrets
import socket
import time
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orderflow.management.processes import beat, running, web, worker

ADMIN = "admin"


class Command(BaseCommand):
    help = "Runs Orderflow until Ctrl-C: web, worker and beat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        address = f"{options['host']}:{options['port']}"
        _refuse_a_taken_port(options["host"], options["port"])
        call_command("migrate", verbosity=0)
        login = _admin_login(Path(settings.VAR) / "admin-password")
        try:
            with running(web(address=address), worker(), beat()) as programs:
                _wait_until_it_answers(options["host"], options["port"])
                self.stdout.write(f"Orderflow runs at http://{address}/admin/ ({login}). Ctrl-C stops it.")
                while not (ended := [program for program in programs if program.poll() is not None]):
                    time.sleep(0.5)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        else:
            what = " ".join(str(word) for word in cast("list[str]", ended[0].args)[2:])
            raise CommandError(f"This ended by itself, with status {ended[0].returncode}, so the rest was stopped: {what}")


def _refuse_a_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            advice = "Perhaps Orderflow runs there already; otherwise choose another port with --port."
            raise CommandError(f"Port {port} of {host} cannot be used: {error}. {advice}") from None


def _wait_until_it_answers(host: str, port: int) -> None:
    """At most some seconds: if it never answers, its program has ended, or says why not."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)


def _admin_login(file: Path) -> str:
    """Make the first administrator, with a password of its own; tell it as long as it was not changed."""
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.objects.create_superuser(ADMIN, password=password)
        file.touch(mode=0o600)
        file.write_text(password)
    admin = users.objects.filter(username=ADMIN).first()
    password = file.read_text() if file.exists() else ""
    if admin and password and admin.check_password(password):
        return f"log in as {ADMIN} with the password {password}"
    return "log in with your own account; manage.py changepassword helps if it is forgotten"
