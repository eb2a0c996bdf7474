"""The commands, called as a person calls them: what they read is files, what they say is text."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def run(*words: str | Path) -> str:
    """What `manage.py` with these words says on its standard output."""
    output = StringIO()
    call_command(*map(str, words), stdout=output, stderr=StringIO(), no_color=True)
    return output.getvalue()


def complaints(*words: str | Path) -> str:
    """What `manage.py` with these words says on its standard error, although it does its work."""
    output = StringIO()
    call_command(*map(str, words), stdout=StringIO(), stderr=output, no_color=True)
    return output.getvalue()


def refusal(*words: str | Path) -> str:
    """The error that `manage.py` with these words ends with."""
    with pytest.raises(CommandError) as caught:
        run(*words)
    return str(caught.value)
