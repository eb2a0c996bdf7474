"""Tests of the commands: they run as from a shell, with files as input and text as output."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


class TerminalOutput(StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: str | Path) -> str:
    """Run `manage.py` with these arguments; return its standard output."""
    output = StringIO()
    call_command(*map(str, arguments), stdout=output, stderr=StringIO(), no_color=True)
    return output.getvalue()


def run_stderr(*arguments: str | Path) -> str:
    """Run `manage.py` with these arguments; return its standard error output."""
    output = StringIO()
    call_command(*map(str, arguments), stdout=StringIO(), stderr=output, no_color=True)
    return output.getvalue()


def run_error(*arguments: str | Path) -> str:
    """Run `manage.py` with these arguments; return the text of the `CommandError` it raises."""
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return str(caught.value)
