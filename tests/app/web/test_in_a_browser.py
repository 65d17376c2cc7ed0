"""The web client in Chromium, against the whole service: what people do, and what they are told when it fails.

SCREENSHOTS=<folder> keeps pictures of all screens.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from flask import Flask
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from app.db.engine import db
from app.factory import create_app
from app.posts import service as posts
from app.redis.client import close
from app.settings import Settings
from local.ports import free_port
from tests.app.web.visitor import Visitor
from tests.conftest import RUN, clean
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools.browser import chromium
from tests.tools.processes import Web, start_worker
from tests.tools.redis_server import RedisServer

PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
MARKUP = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
NO_RESPONSE = 0  # in place of a status
LONG_FEED, MANY_FOLLOWERS = 1000, 60


class Service:
    """gunicorn and a worker on a private Redis; the web may be restarted."""

    def __init__(self, app: Flask, settings: Settings, redis: RedisServer, folder: Path) -> None:
        self.app, self.settings, self.redis, self.log = app, settings, redis, folder / "web.log"
        self.url = f"http://127.0.0.1:{settings.port}"
        self.web = Web(settings, self.log).wait()

    def restart_web(self) -> None:
        self.web.stop()
        self.web = Web(self.settings, self.log).wait()


@pytest.fixture(scope="module")
def service(_migrated: Settings, rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("web")
    redis = RedisServer(folder / "redis")
    settings = replace(
        _migrated,
        redis_url=f"redis://127.0.0.1:{redis.port}/0",
        broker_url=rabbitmq_url,
        broker_namespace=f"lenta-web-{RUN}",
        port=free_port(),
        web_workers=1,
    )
    app = create_app(settings)
    clean(app)
    with app.app_context():
        worker = start_worker(settings, folder / "worker.log")
        made = Service(app, settings, redis, folder)
        yield made
        made.web.stop(SIGKILL)
        worker.stop(SIGKILL)
        for engine in db.engines.values():
            engine.dispose()
    close(app)
    drop_queues(rabbitmq_url, settings.broker_namespace)
    redis.close()


@pytest.fixture(scope="module")
def visitors(service: Service) -> Iterator[list[Visitor]]:
    """Two people with a browser each."""
    with ExitStack() as at_end:
        yield [Visitor(at_end.enter_context(chromium()), service.url) for _ in range(2)]


@pytest.fixture
def visitor(visitors: list[Visitor]) -> Iterator[Visitor]:
    """One of them; the browser has nothing to complain about afterwards."""
    visitors[0].size(1280, 900)
    visitors[0].complaints()
    yield visitors[0]
    assert visitors[0].complaints() == []


@pytest.fixture(scope="module")
def factory(service: Service) -> Factory:
    return Factory()


def person(factory: Factory, first_name: str = "Ann", second_name: str = "Lee") -> int:
    name = f"u{uuid4().hex[:12]}"
    return factory.person(first_name=first_name, second_name=second_name, username=name, password_hash=HASH)


# --- what people do ----------------------------------------------------------------------------------------


def test_a_newcomer_signs_up_follows_writes_and_logs_in_again(visitor, factory):
    author = person(factory, "Walter", "Whitman")
    posts.publish(author, "Leaves of grass")
    name = f"n{uuid4().hex[:12]}"
    visitor.enter(None)

    visitor.press("Sign up")
    visitor.is_at("Sign up")
    for field, text in {"first_name": "Emily", "second_name": "D", "username": name, "password": PASSWORD}.items():
        visitor.fill(field, text)
    visitor.fill("birthdate", "12101990")
    visitor.press("Sign up", "form")
    visitor.sees("Your feed is empty so far")
    visitor.is_at("Feed")
    visitor.go("search")
    visitor.find("[type=search]").send_keys("whitman wal")
    visitor.press("Walter Whitman")
    visitor.is_at("Walter Whitman")
    visitor.press("Follow Walter Whitman", ".profile")
    visitor.press("Feed", "nav")
    visitor.sees_posts("Leaves of grass")
    visitor.write("I dwell in possibility")
    visitor.sees_posts("I dwell in possibility", "Leaves of grass")
    visitor.go("settings")
    visitor.press("Log out")
    visitor.sees("New here?")
    visitor.fill("username", name)
    visitor.fill("password", PASSWORD)
    visitor.press("Log in", "form")

    visitor.sees_posts("I dwell in possibility", "Leaves of grass")
    visitor.is_at("Feed")
    assert visitor.hosts() == {visitor.url.removeprefix("http://")}


def test_a_post_arrives_is_edited_and_deleted_while_a_follower_looks(visitor, visitors, factory):
    author, reader = person(factory), person(factory)
    posts.publish(author, "old")
    posts.follow(reader, author)
    writer = visitors[1]
    writer.enter(author)
    visitor.enter(reader)
    visitor.sees_posts("old")

    writer.write("new, and live")
    visitor.press("1 new post")
    visitor.sees_posts("new, and live", "old")
    writer.press("Edit post")
    writer.find(".editor textarea").send_keys(" and edited", Keys.CONTROL, Keys.ENTER)
    visitor.sees_posts("new, and live and edited", "old")
    writer.press("Delete post")
    writer.press("Delete post", "dialog")

    visitor.sees_posts("old")
    writer.sees_posts("old")
    at_the_next = "return document.activeElement === document.querySelector('article')"
    eventually(lambda: writer.run(at_the_next), "the focus is at the next post")
    assert writer.complaints() == []


def test_following_unfollowing_and_blocking_show_in_the_feed_and_the_profile(visitor, service, factory):
    author, reader = person(factory, "Osip", "M"), person(factory)
    posts.publish(author, "Stone")
    posts.follow(author, reader)
    token = visitor.enter(reader)
    visitor.go(f"person/{author}")

    visitor.press("Follow Osip M", ".profile")
    visitor.sees("1 follower")
    visitor.press("Feed", "nav")
    visitor.sees_posts("Stone")
    visitor.go(f"person/{author}")
    visitor.press("Following Osip M: stop following", ".profile")
    visitor.sees("0 followers")
    visitor.press("Feed", "nav")
    visitor.sees_posts()
    visitor.go(f"person/{author}")
    visitor.press("Block")
    visitor.press("Block", "dialog")
    visitor.sees_no_more("follows you")
    visitor.go("settings")
    visitor.sees("Osip M")
    visitor.press("Unblock")

    visitor.sees("No one is blocked.")
    profile = f"/user/get/{author}"
    eventually(lambda: not service.web.get(profile, token)[1]["is_blocked"], "the block is taken back")


def test_a_thousand_posts_scroll_by_without_a_gap_or_a_repeat(visitor, factory):
    author, reader = person(factory), person(factory)
    expected = [str(post) for post in reversed(factory.posts(author, LONG_FEED))]
    posts.follow(reader, author)
    visitor.enter(reader)
    shown = "return [...document.querySelectorAll('article [id^=by-]')].map(({id}) => id.slice(3))"

    def is_at_the_end() -> bool:
        visitor.run("scrollTo(0, document.body.scrollHeight)")
        return "That was all." in visitor.run("return document.querySelector('main').lastElementChild.textContent")

    eventually(is_at_the_end, "the end of the feed", 120)

    assert visitor.run(shown) == expected
    # Back from a person, the feed is where it was.
    before = visitor.run("return scrollY")
    visitor.go(f"person/{author}")
    visitor.sees("1K posts")
    visitor.browser.back()
    eventually(lambda: abs(visitor.run("return scrollY") - before) < 200, "the feed is where it was")


def test_the_feed_shows_where_one_has_read_to_and_tells_the_service(visitor, service, factory):
    author, reader = person(factory), person(factory)
    old = posts.publish(author, "old")
    posts.publish(author, "new")
    posts.follow(reader, author)
    posts.mark_seen(reader, old)

    token = visitor.enter(reader)
    visitor.sees_posts("new", "old")
    visitor.sees("You have already read the rest")

    order = "return [...document.querySelectorAll('article .text, .read-mark')].map(each => each.textContent)"
    assert visitor.run(order) == ["new", "You have already read the rest", "old"]
    eventually(lambda: service.web.get("/post/feed/unread", token)[1]["unread"] == 0, "the read mark has moved")


def test_followers_scroll_by_to_the_last(visitor, factory):
    author = person(factory)
    followers = factory.people(MANY_FOLLOWERS)
    for follower in followers:
        posts.follow(follower, author)
    visitor.enter(author)
    visitor.go(f"person/{author}/followers")
    rows = "return [...document.querySelectorAll('main .row .name')].map(link => link.hash)"

    def are_all_there() -> bool:
        visitor.run("scrollTo(0, document.body.scrollHeight)")
        return len(visitor.run(rows)) >= MANY_FOLLOWERS

    eventually(are_all_there, "all followers")

    assert visitor.run(rows) == [f"#/person/{follower}" for follower in reversed(followers)]


def test_markup_in_names_and_texts_is_text(visitor, factory):
    author, reader = person(factory, MARKUP, "<b>"), person(factory)
    posts.publish(author, f"{MARKUP} javascript:alert(1) https://example.org/?q=<i>")
    posts.follow(reader, author)
    visitor.enter(reader)

    visitor.sees(f"{MARKUP} javascript:alert(1)")
    visitor.go(f"person/{author}")
    visitor.sees(f"{MARKUP} <b>")
    visitor.sees("javascript:alert(1)")

    assert visitor.run("return window.hacked") is None
    made = "main img, main script, h1 *, .name *, .text :not(a)"
    assert visitor.browser.find_elements(By.CSS_SELECTOR, made) == []
    links = visitor.run("return [...document.querySelectorAll('.text a')].map(link => link.href)")
    assert links == ["https://example.org/?q="]


def test_everything_is_done_by_keyboard(visitor, factory):
    reader, author = person(factory), person(factory)
    for text in ("first", "second", "third"):
        posts.publish(author, text)
    posts.follow(reader, author)
    visitor.enter(reader)
    visitor.sees_posts("third", "second", "first")
    focused = "return document.activeElement.innerText || document.activeElement.id"

    def key(*keys: str) -> str:
        visitor.browser.switch_to.active_element.send_keys(*keys)
        return str(visitor.run(focused))

    assert key(Keys.TAB) == "Skip to the content"
    key(Keys.ENTER)
    assert visitor.run("return document.activeElement.tagName") == "MAIN"
    assert key(Keys.TAB) == "composer"
    key("by hand", Keys.CONTROL, Keys.ENTER)
    visitor.sees_posts("by hand", "third", "second", "first")
    visitor.sees_no_more("sending…")
    visitor.run("document.querySelector('article').focus()")
    assert "third" in key(Keys.PAGE_DOWN)
    assert "second" in key(Keys.PAGE_DOWN)
    assert "third" in key(Keys.PAGE_UP)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert visitor.run(outline) == "solid"


# --- what people are told ----------------------------------------------------------------------------------

REFUSALS = [
    (404, 1005, {}, "This is not here, or not any more."),
    (429, 1009, {"Retry_After": "7"}, "Too many attempts. Try again in 7 seconds."),
    (503, 1010, {"Retry_After": "2"}, "The service is busy at the moment. Try again in 2 seconds."),
    (500, 1000, {}, "Something went wrong on the server (a-request)."),
]


def test_a_post_that_is_refused_is_back_in_its_box(visitor, factory):
    visitor.enter(person(factory))
    visitor.is_live()
    for status, code, headers, words in REFUSALS:
        visitor.answer("post/create", status, code, **headers)

        visitor.find("#composer").send_keys(f"text {status}")
        visitor.press("Post")
        visitor.sees(words)

        assert visitor.find("#composer").get_attribute("value") == f"text {status}"
        assert visitor.posts() == []
        visitor.browser.refresh()
        visitor.is_live()
        assert visitor.find("#composer").get_attribute("value") == f"text {status}"
        visitor.find("#composer").send_keys(Keys.CONTROL, "a", Keys.DELETE)


def test_an_edit_that_is_refused_is_taken_back_and_open_again(visitor, factory):
    author = person(factory)
    posts.publish(author, "as it was")
    visitor.enter(author)
    visitor.sees_posts("as it was")
    visitor.answer("post/update", 404, 1005)

    visitor.press("Edit post")
    visitor.find(".editor textarea").send_keys(", and more", Keys.CONTROL, Keys.ENTER)
    visitor.sees("This is not here, or not any more.")

    assert visitor.find(".editor textarea").get_attribute("value") == "as it was, and more"
    visitor.press("Save")
    visitor.sees_posts("as it was, and more")


def test_a_follow_that_is_refused_is_taken_back(visitor, factory):
    reader, other = person(factory), person(factory, "Ivan", "B")
    visitor.enter(reader)
    visitor.go(f"person/{other}")
    visitor.find(".profile")
    visitor.answer("friend/set", 403, 1017)

    visitor.press("Follow Ivan B", ".profile")

    visitor.sees("One of you has blocked the other.")
    visitor.press("Close")
    visitor.sees_no_more("One of you has blocked the other.")
    visitor.answer("friend/set", NO_RESPONSE)
    visitor.press("Follow Ivan B", ".profile")
    visitor.sees("This is shown as it was before; please try again.")
    visitor.press_key(Keys.ESCAPE)
    visitor.sees_no_more("This is shown as it was before")
    visitor.press("Follow Ivan B", ".profile")
    visitor.sees("1 follower")


def test_a_person_who_does_not_exist_is_named_with_a_way_back(visitor, factory):
    visitor.enter(person(factory))

    visitor.go("person/1")
    visitor.sees("This person is not here")
    visitor.press("To the feed")

    visitor.sees("Your feed is empty so far")


def test_without_a_connection_what_is_written_is_kept_and_sent_later(visitor, factory):
    visitor.enter(person(factory))
    visitor.is_live()
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}

    visitor.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **network})
    visitor.write("from a tunnel")
    visitor.sees("You are offline. Nothing is lost")
    visitor.sees("This page may be out of date")
    assert visitor.posts() == []
    visitor.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **network})
    visitor.sees_no_more("This page may be out of date")
    visitor.press("Post")

    visitor.sees_posts("from a tunnel")


def test_a_session_that_ended_goes_on_with_the_password_where_it_was(visitor, service, factory):
    reader = person(factory)
    token = visitor.enter(reader, account=str(reader))
    visitor.is_live()
    visitor.find("#composer").send_keys("half a thought")

    service.web.call("POST", "/logout", token)
    visitor.sees("Please log in again")
    for _ in range(3):  # a browser obeys the second Escape in any case
        visitor.press_key(Keys.ESCAPE)
    eventually(lambda: visitor.run("return document.activeElement.name") == "again", "the password can be typed")
    visitor.fill("again", "wrong password")
    visitor.press("Log in", "dialog")
    visitor.sees("The password is wrong.")
    visitor.find("[name=again]").send_keys(Keys.CONTROL, "a")
    visitor.fill("again", PASSWORD)
    visitor.press("Log in", "dialog")
    visitor.sees_no_more("Please log in again")

    assert visitor.find("#composer").get_attribute("value") == "half a thought"
    visitor.press("Post")
    visitor.sees_posts("half a thought")


def test_a_session_that_ended_goes_on_after_a_new_username(visitor, service, factory):
    token = visitor.enter(person(factory), account="the_old_name")
    visitor.go("settings")
    field = visitor.find("[name=username]")
    field.send_keys(Keys.CONTROL, "a")
    name = f"n{uuid4().hex[:12]}"
    field.send_keys(name)
    visitor.press("Save")
    visitor.sees("Saved.")

    service.web.call("POST", "/logout", token)
    visitor.sees(f"Enter the password of {name}")
    visitor.fill("again", PASSWORD)
    visitor.press("Log in", "dialog")
    visitor.sees_no_more("Please log in again")


def test_a_username_that_is_taken_is_named_and_the_form_stays_filled(visitor, factory):
    person_, other = person(factory), person(factory)
    taken = posts.get_profile(other, person_)[0].username
    visitor.enter(person_)
    visitor.go("settings")

    field = visitor.find("[name=username]")
    eventually(lambda: field.get_attribute("value"), "the profile is there")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(taken)
    visitor.fill("city", " by the sea")
    visitor.press("Save")
    visitor.sees("This username is taken.")
    visitor.is_at("username")
    assert visitor.text().count("This username is taken.") == 1
    visitor.browser.refresh()

    eventually(lambda: visitor.find("[name=username]").get_attribute("value") == taken, "the draft is there")
    assert visitor.find("[name=city]").get_attribute("value") == "Oslo by the sea"


# --- all screens -------------------------------------------------------------------------------------------

ALL = [("en", "light", 1280), ("ru", "dark", 360)]
if os.environ.get("SCREENSHOTS"):
    ALL += [("en", "dark", 1600), ("ru", "light", 360)]


@pytest.fixture(scope="module")
def village(factory: Factory) -> tuple[int, int, int]:
    """A reader, an author, and a post."""
    reader = person(factory, "Mira", "Novak")
    authors = [person(factory, *name.split()) for name in ("Ada Bauer", "Лев Орлов", "Jorge Nakamura")]
    text = "Первый снег за окном. " * 40
    for author in authors:
        posts.follow(reader, author)
    made = [posts.publish(author, text_) for author, text_ in zip(authors, ("Old maps.", text, "Tea."), strict=True)]
    return reader, authors[0], made[0]


@pytest.mark.parametrize(("language", "theme", "width"), ALL)
def test_axe_finds_nothing_on_any_screen(visitor, village, language, theme, width):
    reader, author, post = village
    visitor.size(width, 740 if width < 500 else 900)
    screens = {"feed": "", "person": f"person/{author}", "me": f"person/{reader}", "post": f"post/{post}"}
    screens |= {"followers": f"person/{author}/followers", "empty-list": f"person/{author}/following"}
    screens |= {
        "search": "search?q=ada",
        "nothing": "search?q=zzzz",
        "gone": "post/1",
        "unknown-person": "person/1",
        "settings": "settings",
    }
    found = {}

    def look(name: str) -> None:
        visitor.find("main h1")
        eventually(lambda: not visitor.browser.find_elements(By.CSS_SELECTOR, ".loading"), f"{name} is loaded")
        if os.environ.get("SCREENSHOTS"):
            file = Path(os.environ["SCREENSHOTS"]) / f"{name}-{theme}-{width}-{language}.png"
            visitor.browser.save_screenshot(str(file))
        wide = visitor.run("return document.documentElement.scrollWidth - innerWidth")
        if problems := visitor.violations() + ([f"{wide} px too wide"] if wide > 0 else []):
            found[name] = problems

    visitor.enter(None, language, theme)
    look("log-in")
    visitor.go("signup")
    visitor.find("[name=birthdate]")
    look("sign-up")
    visitor.enter(reader, language, theme)
    for name, path in screens.items():
        visitor.go(path)
        look(name)
    visitor.go(f"person/{author}")
    visitor.find(".profile .button").click()
    visitor.find("dialog")
    look("question")

    assert found == {}


def test_language_and_colours_change_at_once_and_stay(visitor, village):
    visitor.enter(village[0])
    visitor.go("settings")
    visitor.find("select[name=language] option[value=ru]").click()
    visitor.sees("Настройки")
    visitor.find("select[name=theme] option[value=dark]").click()
    visitor.browser.refresh()

    visitor.sees("Настройки")
    state = "return [document.documentElement.lang, getComputedStyle(document.documentElement).colorScheme]"
    assert visitor.run(state) == ["ru", "dark"]


# --- beneath it --------------------------------------------------------------------------------------------


def test_a_restart_of_redis_and_of_the_web_loses_nothing(visitor, service, factory):
    author, reader = person(factory), person(factory)
    posts.publish(author, "before")
    posts.follow(reader, author)
    visitor.enter(reader)
    visitor.sees_posts("before")

    service.redis.restart_empty()
    service.restart_web()
    posts.publish(author, "after")
    visitor.sees("1 new post", 90)
    visitor.press("1 new post")

    visitor.sees_posts("after", "before")
