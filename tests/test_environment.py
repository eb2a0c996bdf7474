"""Settings are read from the environment, and what cannot be meant is refused at the start."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from orderflow import environment


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
def test_a_duration_is_a_whole_number_and_its_unit(monkeypatch: pytest.MonkeyPatch, value: str, duration: timedelta) -> None:
    monkeypatch.setenv("WAIT", value)
    assert environment.duration("WAIT", "1h") == duration


@pytest.mark.parametrize("value", ["", "7", "d", "-1d", "1.5h", "7 d", "7w", "100000d"])
def test_it_rejects_what_is_no_duration(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WAIT", value)
    with pytest.raises(ImproperlyConfigured, match=r"WAIT=.*such as 90s, 15m, 8h or 7d"):
        environment.duration("WAIT", "1h")


def test_what_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAIT", raising=False)
    assert environment.duration("WAIT", "1h") == timedelta(hours=1)
    assert environment.whole("WAIT", 3) == 3


@pytest.mark.parametrize("value", ["101", "-1", "many", "1.5"])
def test_it_rejects_a_number_out_of_range(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PERCENT", value)
    with pytest.raises(ImproperlyConfigured, match="PERCENT="):
        environment.whole("PERCENT", 0, at_most=100)
