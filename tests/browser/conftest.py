import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.rest.conftest import answers, free_port, server

__all__ = ["answers", "free_port", "server"]

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
    """Chromium, which has to complain of nothing until the test ends."""
    missing = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
    if missing:
        assert not os.environ.get("CI"), f"{missing}: not installed; in CI a skipped test is a failure"
        pytest.skip(f"not installed: {', '.join(missing)}")
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for switch in [*SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield chrome
        log = chrome.get_log("browser")  # type: ignore[no-untyped-call]
        severe = [entry["message"] for entry in log if entry["level"] == "SEVERE"]  # a blocked script, say
        assert [message for message in severe if "favicon.ico" not in message] == []
    finally:
        chrome.quit()


@pytest.fixture
def logged_in(browser: Chrome, transactional_db: None, server: str) -> Chrome:
    """As a superuser called ada."""
    get_user_model().objects.create_superuser("ada", password="very-secret-1815")
    browser.get(f"{server}/admin/")
    browser.find_element(By.NAME, "username").send_keys("ada")
    browser.find_element(By.NAME, "password").send_keys("very-secret-1815")
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    WebDriverWait(browser, 20).until(lambda chrome: chrome.find_elements(By.ID, "user-tools"))
    return browser
