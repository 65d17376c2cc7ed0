"""The programs of docs/live.md in headless Chromium: by server-sent events and fetch, and by WebSocket."""

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome

from app.auth.tokens import issue_token
from app.posts import service as posts
from tests.app.feed.live.conftest import connections
from tests.app.feed.live.test_docs import programs
from tests.factories import eventually
from tests.tools.browser import chromium

PAGE = """
const [base, token] = arguments
window.seen = []
window.closes = []
const closed = (code, {reason}) => window.closes.push([code, reason])
let last = ""
const apply = (name, data) => window.seen.push([name, data])
%s
"""
IN_BACKGROUND = "const listen = async () => { %s }\nlisten()"


@pytest.fixture
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def run(browser, service, world):
    """Run a program of the page, as a user who follows an author. Returns the web, the author and the token."""

    def run(number: int, around: str = "%s") -> tuple[Any, int, str]:
        reader, author = world.people(2)
        world.follow(reader, author)
        web, token = service(), issue_token(reader)
        base = f"http://127.0.0.1:{web.port}"
        browser.get(f"{base}/health/live")
        browser.execute_script(PAGE % (around % programs("js")[number]), base, token)
        eventually(lambda: sum(connections(web).values()) == 1, "the page is connected")
        return web, author, token

    return run


def test_a_page_receives_events_by_fetch(browser, run, world):
    web, author, token = run(0, IN_BACKGROUND)

    post = world.post(author, "привет")
    eventually(lambda: len(seen(browser)) == 1, "the post has come")
    posts.delete(post, author)
    eventually(lambda: len(seen(browser)) >= 2, "the deletion has come")
    web.call("POST", "/logout", token)
    eventually(lambda: seen(browser)[-1] == ["end", {"reason": "token_revoked"}], "the page is told to log in")

    name, data = seen(browser)[0]
    assert (name, data["id"], data["text"]) == ("posted", str(post), "привет")
    assert seen(browser)[1] == ["deleted", {"id": str(post)}]


def test_a_page_receives_posts_by_websocket(browser, run, world):
    web, author, token = run(1)
    assert connections(web) == {"websocket": 1}

    post = world.post(author, "привет")
    eventually(lambda: seen(browser), "the post has come")
    web.call("POST", "/logout", token)
    eventually(lambda: browser.execute_script("return window.closes"), "the socket is closed")

    assert seen(browser) == [["posted", {"postId": str(post), "postText": "привет", "author_user_id": str(author)}]]
    assert browser.execute_script("return window.closes") == [[4401, "token_revoked"]]


def seen(browser: Chrome) -> list[Any]:
    """The events that the page has applied."""
    found: list[Any] = browser.execute_script("return window.seen")
    return found
