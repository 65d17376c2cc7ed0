"""Headless Chromium. Needs Debian's chromium and chromium-driver."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.conftest import unless_there


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start a browser that keeps its messages and its requests."""
    unless_there("chromium", "chromium")
    unless_there("chromedriver", "chromium-driver")
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield browser
    browser.quit()
