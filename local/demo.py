"""`make demo`: imports a social graph into a running `make run`, and shows its effects over HTTP."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import text

from app.db.engine import POSTS, execute
from app.factory import create_app
from app.settings import ON
from local import components, environment, graph
from local.client import Person, Refused
from local.environment import Environ
from local.managed_process import StartupError, echo

USERNAME, PASSWORD = "demo", "password123"
POSTS_PER_USER = 20
SAMPLE = 10  # followers whose feeds are watched; logging in is slow on purpose
VISIBLE_SECONDS = 10
WHOLE_FEED = 1000
POLL_SECONDS = 0.002
TEXT = "Good morning! This is a post of the demo."
EDITED = "Good morning! This is a post of the demo, edited."


def main() -> int:
    """Run the demo. Raises StartupError if nothing runs, or an effect is not visible in time."""
    environ = environment.running_environ()
    if environ is None:
        raise StartupError(environment.NOTHING_RUNS)
    settings = environment.check(environ)
    _import(environ)
    author_id, follower_ids, followers = _best_connected(environ)
    author, readers = _log_in(components.address(settings), author_id, follower_ids, followers)
    echo("\nHaving the workers build every feed that is cold:")
    _flask(environ, "warm-cache", "--wait")
    whole = min(WHOLE_FEED, settings.feed_cap)
    _read(readers[0])
    _post_edit_delete(author, readers, followers)
    _unfollow_and_follow(author, readers[0], whole)
    echo("\nAll of it was seen. People, posts and feeds stay: look around, or run the demo again.")
    if settings.web_client == ON:
        name = _name_to_log_in(readers[0])
        echo(f"\nIn a browser: {components.address(settings)}, log in as {name} with the password {PASSWORD}.")
    return 0


def _name_to_log_in(reader: Person) -> str:
    """Give a reader a username. Returns the id instead if an earlier demo gave it to another."""
    try:
        reader.call("PUT", "/user/update", {"username": USERNAME})
    except Refused as error:
        if error.status != 409:
            raise
        return reader.id
    return USERNAME


def _import(environ: Environ) -> None:
    if _query(environ, "SELECT 1 FROM follows LIMIT 1", {}):
        echo("There are follows already: nothing is imported.")
    else:
        file = str(graph.file(environment.data_folder()))
        options = ("--mutual", "--posts-per-user", str(POSTS_PER_USER), "--password", PASSWORD)
        _flask(environ, "import-graph", file, *options)


def _flask(environ: Environ, *arguments: str) -> None:
    command = [sys.executable, *environment.flask_command(*arguments)]
    done = subprocess.run(command, cwd=environment.ROOT, env=environment.child_environ(environ))
    if done.returncode:
        raise StartupError(f"flask {arguments[0]} failed (exit code {done.returncode}).")


def _best_connected(environ: Environ) -> tuple[int, list[int], int]:
    """Return the user with the most followers, a sample of them, and their number."""
    most = "SELECT followee_id, count(*) FROM follows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    ((author_id, followers),) = _query(environ, most, {})
    some = "SELECT follower_id FROM follows WHERE followee_id = :author_id ORDER BY random() LIMIT :sample"
    rows = _query(environ, some, {"author_id": author_id, "sample": SAMPLE})
    return author_id, [row[0] for row in rows], followers


def _query(environ: Environ, statement: str, values: dict[str, Any]) -> Sequence[Any]:
    app = create_app(environment.check(environ))
    with app.app_context():
        return execute(POSTS, text(statement), values).all()


def _log_in(url: str, author_id: int, follower_ids: list[int], followers: int) -> tuple[Person, list[Person]]:
    try:
        author = Person(url, author_id, PASSWORD)
        readers = [Person(url, follower_id, PASSWORD) for follower_id in follower_ids]
    except Refused as error:
        if error.status != 401:
            raise
        raise StartupError(
            "The people there are not the demo's: their password is another. Give the demo separate data:\n"
            "  LENTA_DATA=.data-demo PORT=8001 make run    and then    LENTA_DATA=.data-demo make demo"
        ) from error
    echo(f"\nLogged in as {author.name} ({author.id}), the most popular author with {followers:,} followers.")
    echo(f"Logged in as {len(readers)} of these followers, the first is {readers[0].name} ({readers[0].id}).")
    return author, readers


def _read(reader: Person) -> None:
    reader.feed()
    start = time.perf_counter()
    posts, source = reader.read(10)
    took = (time.perf_counter() - start) * 1000
    echo(f"\n{reader.name} reads the feed: {len(posts)} posts in {took:.1f} ms, from: {source}. The first three:")
    for post in posts[:3]:
        user, _ = reader.call("GET", f"/user/get/{post['author_user_id']}")
        echo(f"  {user['first_name']} {user['second_name']}: {post['text']}")


def _post_edit_delete(author: Person, readers: list[Person], followers: int) -> None:
    feeds = f"in all {len(readers)} feeds" if len(readers) > 1 else "in the feed"

    post_id, _ = author.call("POST", "/post/create", {"text": TEXT})
    took = _wait_until_visible(
        readers, lambda feed: bool(feed) and feed[0]["id"] == post_id, "the new post at the head"
    )
    echo(f"\n{author.name} posts. {took} later the post is at the head {feeds} (it goes to {followers:,}).")

    author.call("PUT", "/post/update", {"id": post_id, "text": EDITED})
    took = _wait_until_visible(readers, lambda feed: _text(feed, post_id) == EDITED, "the new text")
    echo(f"{author.name} edits it. {took} later the new text is {feeds}.")

    author.call("PUT", f"/post/delete/{post_id}")
    took = _wait_until_visible(readers, lambda feed: _text(feed, post_id) is None, "the post gone")
    echo(f"{author.name} deletes it. {took} later it is gone {feeds}.")


def _text(feed: list[dict[str, Any]], post_id: str) -> str | None:
    return next((post["text"] for post in feed if post["id"] == post_id), None)


def _unfollow_and_follow(author: Person, reader: Person, whole: int) -> None:
    posts = reader.feed(whole)
    before = [post["id"] for post in posts]
    others = [post["id"] for post in posts if post["author_user_id"] != author.id]

    reader.call("PUT", f"/friend/delete/{author.id}")
    try:
        took = _wait_until_visible(
            [reader], lambda feed: _starts_with(feed, others), "a feed without the author", whole
        )
        now = len(reader.feed(whole))
        moved = "the others moved up" + (f", and {now - len(others)} older ones came in" if now > len(others) else "")
        gone = len(before) - len(others)
        echo(f"\n{reader.name} unfollows {author.name}. {took} later {gone} posts are gone from the feed; {moved}.")
    finally:
        reader.call("PUT", f"/friend/set/{author.id}")
    took = _wait_until_visible(
        [reader], lambda feed: [post["id"] for post in feed] == before, "the feed as it was", whole
    )
    echo(f"{reader.name} follows {author.name} again. {took} later the feed is as it was: {len(before)} posts.")


def _starts_with(feed: list[dict[str, Any]], ids: list[str]) -> bool:
    return [post["id"] for post in feed[: len(ids)]] == ids


def _wait_until_visible(
    readers: list[Person], is_right: Callable[[list[dict[str, Any]]], bool], what: str, limit: int = 10
) -> str:
    """Return how long it took until every reader's feed is right. Raises StartupError after VISIBLE_SECONDS."""
    start = time.perf_counter()
    waiting = list(readers)
    while waiting:
        waiting = [reader for reader in waiting if not is_right(reader.feed(limit))]
        took = time.perf_counter() - start
        if waiting and took > VISIBLE_SECONDS:
            names = ", ".join(reader.name for reader in waiting)
            raise StartupError(
                f"ERROR: {what} was not seen within {VISIBLE_SECONDS} s by {names}. See the worker's log."
            )
        if waiting:
            time.sleep(POLL_SECONDS)
    return f"{took * 1000:.0f} ms"
