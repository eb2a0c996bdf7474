"""Reads settings from the environment and fails loudly. It does not know which settings there are."""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

N = TypeVar("N", int, float)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def text(name: str, default: str) -> str:
    return os.environ.get(name, default)


def choice(name: str, default: str, *, among: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in among:
        raise ImproperlyConfigured(f"{name}={value!r}: give one of {', '.join(among)}.")
    return value


def flag(name: str, default: bool) -> bool:
    return choice(name, "1" if default else "0", among=("0", "1")) == "1"


def words(name: str, default: str) -> list[str]:
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def whole(name: str, default: int, *, at_least: int = 0, at_most: int | None = None) -> int:
    number = _number(name, default, int, "a whole number", at_least)
    if at_most is not None and number > at_most:
        raise ImproperlyConfigured(f"{name}={number}: give a whole number, at most {at_most}.")
    return number


def seconds(name: str, default: float, *, at_least: float = 0) -> float:
    return _number(name, default, float, "a number of seconds", at_least)


def duration(name: str, default: str) -> timedelta:
    """A whole number and its unit: 90s, 15m, 8h, 7d."""
    value = text(name, default)
    found = re.fullmatch(r"(\d{1,5})([smhd])", value)
    if found is None:
        raise ImproperlyConfigured(f"{name}={value!r}: give a whole number and its unit, such as 90s, 15m, 8h or 7d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _number(name: str, default: N, kind: Callable[[str], N], what: str, at_least: N) -> N:
    value = text(name, str(default))
    try:
        number = kind(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r}: give {what}.") from None
    if not number >= at_least:
        raise ImproperlyConfigured(f"{name}={value!r}: give {what}, at least {at_least}.")
    return number
