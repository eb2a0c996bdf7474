"""Environment variables become typed settings; invalid values are rejected at the start."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from orderflow import environment

NAME = "EXAMPLE_SETTING"


@pytest.fixture(autouse=True)
def own_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the example setting out of the documented settings of the product."""
    monkeypatch.setattr(environment, "documented", {})


def _duration(default: str = "1h") -> timedelta:
    return environment.duration(NAME, default, help="")


def _percent() -> int:
    return environment.integer(NAME, 3, maximum=100, help="")


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("8h", timedelta(hours=8)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta()),
    ],
)
def test_duration_is_a_whole_number_with_a_unit(
    monkeypatch: pytest.MonkeyPatch, value: str, duration: timedelta
) -> None:
    monkeypatch.setenv(NAME, value)
    assert _duration() == duration


@pytest.mark.parametrize("value", ["", "7", "d", "-1d", "1.5h", "7 d", "7w", "100000d"])
def test_rejects_invalid_duration(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=rf"{NAME}=.*such as 90s, 15m, 8h or 7d"):
        _duration()


def test_unset_variable_returns_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    assert _duration("1h") == timedelta(hours=1)
    assert _percent() == 3


@pytest.mark.parametrize("value", ["101", "-1", "many", "1.5"])
def test_rejects_number_out_of_range(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}="):
        _percent()


def test_rejects_unknown_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "sometimes")
    with pytest.raises(
        ImproperlyConfigured, match=f"{NAME} is 'sometimes'. It must be one of a, b"
    ):
        environment.choice(NAME, "a", choices=("a", "b"), help="")


def test_setting_is_documented_with_its_default() -> None:
    environment.duration(NAME, "1h", help="Example.")
    setting = environment.documented[NAME]
    assert (setting.default, setting.help) == ("1h", "Example.")
