"""`make demo`: a social graph in what `make run` started, and what happens in it, seen over HTTP."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import text

from app import create_app
from app.db import POSTS, run
from local import environment, graph, parts
from local.client import Person, Refused
from local.environment import Environ
from local.process import Failed, say

PASSWORD = "password123"
POSTS_PER_USER = 20
SAMPLE = 10  # followers whose feeds are watched; logging in is slow on purpose
SEEN_SECONDS = 10
WHOLE_FEED = 1000
POLL_SECONDS = 0.002
TEXT = "Good morning! This is a post of the demo."
EDITED = "Good morning! This is a post of the demo, edited."


def main() -> int:
    """Show it. Raises Failed where no run is there, or something is not seen in time."""
    environ = environment.of_run()
    if environ is None:
        raise Failed(environment.NOTHING_RUNS)
    settings = environment.check(environ)
    _import(environ)
    author_id, follower_ids, followers = _best_connected(environ)
    author, readers = _log_in(parts.address(settings), author_id, follower_ids, followers)
    say("\nHaving the workers build every feed that is cold:")
    _flask(environ, "warm-cache", "--wait")
    whole = min(WHOLE_FEED, settings.feed_cap)
    _read(readers[0])
    _post_edit_delete(author, readers, followers)
    _unfollow_and_follow(author, readers[0], whole)
    say("\nAll of it was seen. People, posts and feeds stay: look around, or run the demo again.")
    return 0


def _import(environ: Environ) -> None:
    if _query(environ, "SELECT 1 FROM follows LIMIT 1", {}):
        say("Somebody follows somebody already: nothing is imported.")
    else:
        file = str(graph.file(environment.data_folder()))
        options = ("--mutual", "--posts-per-user", str(POSTS_PER_USER), "--password", PASSWORD)
        _flask(environ, "import-graph", file, *options)


def _flask(environ: Environ, *arguments: str) -> None:
    command = [sys.executable, *environment.flask_command(*arguments)]
    done = subprocess.run(command, cwd=environment.ROOT, env=environment.child_environ(environ))
    if done.returncode:
        raise Failed(f"flask {arguments[0]} failed (exit code {done.returncode}).")


def _best_connected(environ: Environ) -> tuple[int, list[int], int]:
    """(the user whom most follow, some of the followers, how many there are)"""
    most = "SELECT followee_id, count(*) FROM follows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    ((author_id, followers),) = _query(environ, most, {})
    some = "SELECT follower_id FROM follows WHERE followee_id = :author_id ORDER BY random() LIMIT :sample"
    rows = _query(environ, some, {"author_id": author_id, "sample": SAMPLE})
    return author_id, [row[0] for row in rows], followers


def _query(environ: Environ, statement: str, values: dict[str, Any]) -> Sequence[Any]:
    app = create_app(environment.check(environ))
    with app.app_context():
        return run(POSTS, text(statement), values).all()


def _log_in(url: str, author_id: int, follower_ids: list[int], followers: int) -> tuple[Person, list[Person]]:
    try:
        author = Person(url, author_id, PASSWORD)
        readers = [Person(url, follower_id, PASSWORD) for follower_id in follower_ids]
    except Refused as error:
        if error.status != 401:
            raise
        raise Failed(
            "The people there are not the demo's: their password is another. Give the demo data of its own:\n"
            "  LENTA_DATA=.data-demo PORT=8001 make run    and then    LENTA_DATA=.data-demo make demo"
        ) from error
    say(f"\nLogged in as {author.name} ({author.id}), whom {followers:,} people follow: more than anybody.")
    say(f"Logged in as {len(readers)} of these followers, the first is {readers[0].name} ({readers[0].id}).")
    return author, readers


def _read(reader: Person) -> None:
    reader.feed()
    start = time.perf_counter()
    posts, source = reader.read(10)
    took = (time.perf_counter() - start) * 1000
    say(f"\n{reader.name} reads the feed: {len(posts)} posts in {took:.1f} ms, from: {source}. The first three:")
    for post in posts[:3]:
        user, _ = reader.call("GET", f"/user/get/{post['author_user_id']}")
        say(f"  {user['first_name']} {user['second_name']}: {post['text']}")


def _post_edit_delete(author: Person, readers: list[Person], followers: int) -> None:
    feeds = f"in all {len(readers)} feeds" if len(readers) > 1 else "in the feed"

    post_id, _ = author.call("POST", "/post/create", {"text": TEXT})
    took = _seen(readers, lambda feed: bool(feed) and feed[0]["id"] == post_id, "the new post at the head")
    say(f"\n{author.name} posts. {took} later the post is at the head {feeds} (it goes to {followers:,}).")

    author.call("PUT", "/post/update", {"id": post_id, "text": EDITED})
    took = _seen(readers, lambda feed: _text(feed, post_id) == EDITED, "the new text")
    say(f"{author.name} edits it. {took} later the new text is {feeds}.")

    author.call("PUT", f"/post/delete/{post_id}")
    took = _seen(readers, lambda feed: _text(feed, post_id) is None, "the post gone")
    say(f"{author.name} deletes it. {took} later it is gone {feeds}.")


def _text(feed: list[dict[str, Any]], post_id: str) -> str | None:
    return next((post["text"] for post in feed if post["id"] == post_id), None)


def _unfollow_and_follow(author: Person, reader: Person, whole: int) -> None:
    posts = reader.feed(whole)
    before = [post["id"] for post in posts]
    others = [post["id"] for post in posts if post["author_user_id"] != author.id]

    reader.call("PUT", f"/friend/delete/{author.id}")
    try:
        took = _seen([reader], lambda feed: _starts_with(feed, others), "a feed without the author", whole)
        now = len(reader.feed(whole))
        moved = "the others moved up" + (f", and {now - len(others)} older ones came in" if now > len(others) else "")
        gone = len(before) - len(others)
        say(f"\n{reader.name} unfollows {author.name}. {took} later {gone} posts are gone from the feed; {moved}.")
    finally:
        reader.call("PUT", f"/friend/set/{author.id}")
    took = _seen([reader], lambda feed: [post["id"] for post in feed] == before, "the feed as it was", whole)
    say(f"{reader.name} follows {author.name} again. {took} later the feed is as it was: {len(before)} posts.")


def _starts_with(feed: list[dict[str, Any]], ids: list[str]) -> bool:
    return [post["id"] for post in feed[: len(ids)]] == ids


def _seen(readers: list[Person], is_right: Callable[[list[dict[str, Any]]], bool], what: str, limit: int = 10) -> str:
    """How long until every reader's feed is right. Raises Failed after SEEN_SECONDS."""
    start = time.perf_counter()
    waiting = list(readers)
    while waiting:
        waiting = [reader for reader in waiting if not is_right(reader.feed(limit))]
        took = time.perf_counter() - start
        if waiting and took > SEEN_SECONDS:
            names = ", ".join(reader.name for reader in waiting)
            raise Failed(f"ERROR: {what} was not seen within {SEEN_SECONDS} s by {names}. See the worker's log.")
        if waiting:
            time.sleep(POLL_SECONDS)
    return f"{took * 1000:.0f} ms"
