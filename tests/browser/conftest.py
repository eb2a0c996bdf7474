import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.rest.conftest import server

__all__ = ["server"]

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1600",
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Chromium; the test fails if the browser logs a severe error, such as a blocked script."""
    _require_programs("chromium", "chromedriver")
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for switch in [*SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield chrome
        log = chrome.get_log("browser")  # type: ignore[no-untyped-call]
        severe = [entry["message"] for entry in log if entry["level"] == "SEVERE"]
        assert [message for message in severe if "favicon.ico" not in message] == []
    finally:
        chrome.quit()


def _require_programs(*programs: str) -> None:
    """Skip the test if a program is missing; in CI, fail."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        text = f"not installed: {', '.join(missing)}"
        assert not os.environ.get("CI"), text
        pytest.skip(text)


@pytest.fixture
def logged_in(browser: Chrome, transactional_db: None, server: str) -> Chrome:
    """A browser in which the superuser `ada` is logged in."""
    get_user_model().objects.create_superuser("ada", password="very-secret-1815")
    browser.get(f"{server}/admin/")
    browser.find_element(By.NAME, "username").send_keys("ada")
    browser.find_element(By.NAME, "password").send_keys("very-secret-1815")
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    WebDriverWait(browser, 20).until(lambda chrome: chrome.find_elements(By.ID, "user-tools"))
    return browser
