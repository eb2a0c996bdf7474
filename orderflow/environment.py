"""Read typed settings from environment variables; an invalid value raises `ImproperlyConfigured`.

Each function also documents its setting: docs/operations.md is generated from `documented`.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

N = TypeVar("N", int, float)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A documented environment variable. `kind`: what values it takes, in words."""

    topic: str
    name: str
    kind: str
    default: str
    help: str


documented: dict[str, Setting] = {}
_topic = ""


def topic(name: str) -> None:
    """Begin a group of settings."""
    global _topic
    _topic = name


def text(name: str, default: str, *, help: str, shown_default: str | None = None) -> str:
    """`shown_default`: the default in the documentation, if it is derived from something else."""
    _document(name, "text", default if shown_default is None else shown_default, help)
    return _value(name, default)


def choice(name: str, default: str, *, choices: tuple[str, ...], help: str) -> str:
    _document(name, " or ".join(f"`{each}`" for each in choices), default, help)
    value = _value(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}. It must be one of {', '.join(choices)}.")
    return value


def flag(name: str, default: bool, *, help: str) -> bool:
    return choice(name, "1" if default else "0", choices=("0", "1"), help=help) == "1"


def comma_separated(name: str, default: str, *, help: str) -> list[str]:
    _document(name, "comma-separated list", default, help)
    return [word.strip() for word in _value(name, default).split(",") if word.strip()]


def integer(
    name: str,
    default: int,
    *,
    help: str,
    minimum: int = 0,
    maximum: int | None = None,
    shown_default: str | None = None,
) -> int:
    limits = f"{minimum:,} to {maximum:,}" if maximum is not None else f"{minimum:,} or more"
    shown = str(default) if shown_default is None else shown_default
    _document(name, f"whole number, {limits}", shown, help)
    number = _number(name, default, int, "a whole number", minimum)
    if maximum is not None and number > maximum:
        raise ImproperlyConfigured(
            f"{name}={number} must be a whole number from {minimum} to {maximum}."
        )
    return number


def seconds(name: str, default: float, *, help: str, minimum: float = 0) -> float:
    _document(name, "seconds", f"{default:g}", help)
    return _number(name, default, float, "a number of seconds", minimum)


def duration(name: str, default: str, *, help: str) -> timedelta:
    """Read a whole number with its unit: 90s, 15m, 8h, 7d."""
    _document(name, "duration such as `90s`, `15m`, `8h` or `7d`", default, help)
    value = _value(name, default)
    match = re.fullmatch(r"(\d{1,5})([smhd])", value)
    if match is None:
        raise ImproperlyConfigured(
            f"{name}={value!r} must be a whole number with a unit, such as 90s, 15m, 8h or 7d."
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _document(name: str, kind: str, default: str, help: str) -> None:
    documented[name] = Setting(topic=_topic, name=name, kind=kind, default=default, help=help)


def _value(name: str, default: str) -> str:
    return os.environ.get(name, default)


def _number(name: str, default: N, parse: Callable[[str], N], kind: str, minimum: N) -> N:
    value = _value(name, str(default))
    try:
        number = parse(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} must be {kind}.") from None
    if not number >= minimum:
        raise ImproperlyConfigured(f"{name}={value!r} must be {kind}, at least {minimum}.")
    return number
