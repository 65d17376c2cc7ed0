"""/docs in headless Chromium: every button works, and nothing is loaded from elsewhere.

SCREENSHOT=<file> keeps a picture of the last page.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from app.settings import Settings
from local.ports import free_port
from tests.factories import eventually
from tests.tools.browser import chromium
from tests.tools.processes import Web

PASSWORD = "correct horse"
ADA = {"first_name": "Ada", "second_name": "Lovelace", "birthdate": "1990-12-10", "password": PASSWORD}
BOB = ADA | {"first_name": "Bob"}

T = TypeVar("T")


@pytest.fixture
def web(_migrated: Settings, make_app: Any, tmp_path: Path) -> Iterator[Web]:
    web = Web(replace(_migrated, port=free_port()), tmp_path / "web.log").wait()
    yield web
    web.stop()


@pytest.fixture
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


class Page:
    """Reads and operates /docs like a user."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self._browser = browser
        browser.get(url)
        self.find("#operations-users-register")

    def call(self, operation: str, body: Any = None, **parameters: str) -> tuple[int, Any]:
        """Try it out: (status, JSON) as the page shows them. `operation` is its tag and name."""
        block = f"#operations-{operation}"
        if "is-open" not in self.find(block).get_attribute("class").split():
            self.press(f"{block} .opblock-summary-control")
            self.press(f"{block} .try-out__btn")
        else:
            self.press(f"{block} .btn-clear")  # or the answer of before would be taken for the next one
        if body is not None:
            self.fill(f"{block} textarea.body-param__text", json.dumps(body))
        for name, value in parameters.items():
            self.fill(f"{block} tr[data-param-name={name}] input", value)
        self.press(f"{block} .execute")
        response = f"{block} .live-responses-table tr.response"
        eventually(lambda: self.text(f"{response} .response-col_status")[:3].isdigit(), f"{operation} is answered", 60)
        shown = self.text(f"{response} .response-col_description .highlight-code")
        return int(self.text(f"{response} .response-col_status")[:3]), json.loads(shown.replace("Download", "").strip())

    def authorize(self, token: str) -> None:
        self.press(".scheme-container .btn.authorize")
        self.fill(".modal-ux input[type=text]", token)
        self.press(".modal-ux .auth-btn-wrapper .authorize")
        self.press(".modal-ux .btn-done")

    def press(self, selector: str) -> None:
        def click(button: WebElement) -> None:
            self._browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
            button.click()

        self._on(selector, click)

    def fill(self, selector: str, text: str) -> None:
        def write(field: WebElement) -> None:
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(text)

        self._on(selector, write)

    def text(self, selector: str) -> str:
        return self._on(selector, lambda element: element.text)

    def find(self, selector: str) -> WebElement:
        eventually(lambda: self._browser.find_elements(By.CSS_SELECTOR, selector), f"{selector} is on the page", 60)
        return self._browser.find_element(By.CSS_SELECTOR, selector)

    def _on(self, selector: str, action: Callable[[WebElement], T]) -> T:
        """Act on an element, and once more if the page has replaced it."""
        try:
            return action(self.find(selector))
        except StaleElementReferenceException:
            return action(self.find(selector))


def hosts(browser: Chrome) -> set[str]:
    """Return the hosts that the page sent requests to."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


def test_a_person_registers_logs_in_authorizes_posts_and_reads_the_feed(browser: Chrome, web: Web) -> None:
    bob = web.call("POST", "/user/register", body=BOB)[1]["user_id"]
    bobs_token = web.call("POST", "/login", body={"id": bob, "password": PASSWORD})[1]["token"]
    bobs_post = web.call("POST", "/post/create", bobs_token, {"text": "Hello, Ada"})[1]
    page = Page(browser, f"http://127.0.0.1:{web.port}/docs")

    refused, error = page.call("feed-read_feed")
    _, registered = page.call("users-register", ADA)
    _, logged_in = page.call("users-log_in", {"id": registered["user_id"], "password": PASSWORD})
    page.authorize(logged_in["token"])
    posted, post_id = page.call("posts-create_post", {"text": "Hello from the page"})
    followed, _ = page.call("friends-set_friend", user_id=bob)
    read, feed = page.call("feed-read_feed")
    if os.environ.get("SCREENSHOT"):
        browser.save_screenshot(os.environ["SCREENSHOT"])

    assert (refused, error["code"]) == (401, 1002)
    assert "maximum: 1000" in page.text("#operations-feed-read_feed")
    assert (posted, followed, read) == (200, 200, 200)
    assert web.get(f"/post/get/{post_id}", bobs_token)[1]["author_user_id"] == registered["user_id"]
    assert [(post["id"], post["text"]) for post in feed] == [(bobs_post, "Hello, Ada")]
    assert hosts(browser) == {f"127.0.0.1:{web.port}"}
    complaints = [entry["message"] for entry in browser.get_log("browser") if "401" not in entry["message"]]
    assert complaints == []
