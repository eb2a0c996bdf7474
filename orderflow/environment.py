"""Reads settings from the environment and fails loudly. It does not know which settings there are."""

import os
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

N = TypeVar("N", int, float)


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


def whole(name: str, default: int, *, at_least: int = 0) -> int:
    return _number(name, default, int, "a whole number", at_least)


def seconds(name: str, default: float, *, at_least: float = 0) -> float:
    return _number(name, default, float, "a number of seconds", at_least)


def _number(name: str, default: N, kind: Callable[[str], N], what: str, at_least: N) -> N:
    value = text(name, str(default))
    try:
        number = kind(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r}: give {what}.") from None
    if not number >= at_least:
        raise ImproperlyConfigured(f"{name}={value!r}: give {what}, at least {at_least}.")
    return number
