"""A person with a browser, who looks at the web client and operates it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from app.auth.tokens import issue_token
from tests.factories import eventually

AXE = (Path(__file__).parents[2] / "tools" / "axe" / "axe.min.js").read_text()
CHECK = """
const done = arguments[0]
const told = node => `${node.html.slice(0, 200)}: ${node.failureSummary}`
axe.run(document, {resultTypes: ["violations"]}).then(
    ({violations}) => done(violations.map(({id, nodes}) => [id, nodes.map(told)])), error => done([String(error)]))
"""
ENTER = """
const [session, language, theme] = arguments
localStorage.clear()
sessionStorage.clear()
if (session) localStorage.setItem("lenta.session", JSON.stringify(session))
localStorage.setItem("lenta.language", JSON.stringify(language))
localStorage.setItem("lenta.theme", JSON.stringify(theme))
"""
# Answers the next request to a path in place of the server.
ANSWER = """
const [path, status, body, headers] = arguments
const real = window.fetch
window.fetch = (url, options) => {
    if (!String(url).includes(path)) return real(url, options)
    window.fetch = real
    if (!status) return Promise.reject(new TypeError("no response"))
    return Promise.resolve(new Response(JSON.stringify(body), {status, headers}))
}
"""


class Visitor:
    """Operates one browser; waits for everything it looks for."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser, self.url = browser, url

    def enter(self, user_id: int | None, language: str = "en", theme: str = "light", account: str = "") -> str:
        """Open the client as a user that is logged in, or as a visitor. Returns the token."""
        token = issue_token(user_id) if user_id else ""
        session = {"token": token, "userId": str(user_id), "account": account} if user_id else None
        self.browser.get(f"{self.url}/health/live")
        self.run(ENTER, session, language, theme)
        self.browser.get(f"{self.url}/")
        self.find("main h1")
        return token

    def go(self, path: str) -> None:
        self.run("location.hash = arguments[0]", f"#/{path}")

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        eventually(lambda: self.browser.find_elements(By.CSS_SELECTOR, selector), f"{selector} is there")
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def press(self, words: str, within: str = "") -> None:
        """Press the button or link with these words or this label."""
        named = f'[normalize-space()="{words}" or @aria-label="{words}"]'
        path = f"//*[self::button or self::a]{named}"

        def is_pressed() -> bool:
            try:
                around = self.browser.find_element(By.CSS_SELECTOR, within or "body")
                around.find_element(By.XPATH, f".{path}").click()
            except WebDriverException:
                return False
            return True

        eventually(is_pressed, f"{words!r} can be pressed")

    def fill(self, name: str, text: str) -> None:
        self.find(f"[name={name}]").send_keys(text)

    def press_key(self, key: str) -> None:
        """Press a key wherever the focus is. An element that is being hidden refuses keys."""
        ActionChains(self.browser).send_keys(key).perform()

    def write(self, text: str) -> None:
        """Write a post."""
        self.find("#composer").send_keys(text)
        self.press("Post")

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def sees(self, words: str, seconds: float = 30) -> None:
        eventually(lambda: words in self.text(), f"{words!r} is seen", seconds)

    def sees_no_more(self, words: str) -> None:
        eventually(lambda: words not in self.text(), f"{words!r} is seen no more")

    def posts(self) -> list[str]:
        """The texts of the posts on the screen, from top to bottom."""
        script = "return [...document.querySelectorAll('article .text')].map(text => text.textContent)"
        return list(self.run(script))

    def sees_posts(self, *texts: str) -> None:
        with suppress(AssertionError):
            eventually(lambda: self.posts() == list(texts), "the posts are there")
        assert self.posts() == list(texts)

    def is_at(self, words: str) -> None:
        """Wait until the focus is on an element with this text or name."""
        at = "const at = document.activeElement; return at === document.body ? '' : at.name || at.textContent"
        with suppress(AssertionError):
            eventually(lambda: self.run(at) == words, "the focus is there")
        assert self.run(at) == words

    def is_live(self) -> None:
        """Wait until the first page and the live connection are there."""
        live = "return performance.getEntriesByType('resource').some(({name}) => name.endsWith('/post/feed/unread'))"
        eventually(lambda: self.run(live) and not self.browser.find_elements(By.CSS_SELECTOR, ".loading"), "feed")

    def answer(self, path: str, status: int, code: int = 0, **headers: str) -> None:
        """Let the next request to `path` get this error; with the status 0, no response."""
        body = {"message": "Refused by a test.", "code": code, "request_id": "a-request"}
        self.run(ANSWER, path, status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def violations(self) -> list[Any]:
        """Return the findings of axe about the screen."""
        if not self.run("return 'axe' in window"):
            self.run(f"{AXE}; window.axe = axe")
        return list(self.browser.execute_async_script(CHECK))

    def complaints(self) -> list[str]:
        """Messages of the browser since the last call, except those of error responses."""
        messages = [entry["message"] for entry in self.browser.get_log("browser")]
        return [message for message in messages if "Failed to load resource" not in message]

    def hosts(self) -> set[str]:
        """The hosts that requests were sent to since the last call."""
        sent = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}
