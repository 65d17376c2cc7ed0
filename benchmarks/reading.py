"""Reading a feed over HTTP."""

import json
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

from app.auth import issue_token
from app.feed import service
from benchmarks import world
from benchmarks.contest import FLOOR, OURS, PEER, Contest, Goal
from benchmarks.load import rate
from benchmarks.processes import web
from benchmarks.stage import Stage

# The kernel may give all connections to one of two gunicorn workers, and then that is what is measured, on whichever
# side: so a round is the best of several loads, each of which connects anew.
LOADS, QUICK_LOADS = 3, 1
SECONDS = 1  # of each
PAGE = "/post/feed?limit=10"


def read(stage: Stage) -> Iterator[Contest]:
    """Requests a second for the first page of a warm feed, tokens checked, beside an empty route of a bare Flask."""
    settings = stage.settings("town", world.town)
    tokens = warm_readers(stage)
    with web(settings, stage.folder) as ours, web(settings, stage.folder, "benchmarks.floors:app") as floor:
        check(ours + PAGE, tokens[0])
        sides = {OURS: load(stage, ours + PAGE, tokens), FLOOR: load(stage, floor + "/", tokens)}
        yield Contest("requests/s", sides, [Goal("read a page", "≥", (0.60, 0.75), FLOOR)])


def read_sql(stage: Stage) -> Iterator[Contest]:
    """The same beside the same page by SQL, of readers who follow 200 authors with 100 posts each."""
    settings = stage.settings("town", world.town)
    tokens = warm_readers(stage)
    with web(settings, stage.folder) as ours, web(settings, stage.folder, "benchmarks.peers:create_sql_app()") as peer:
        check(ours + PAGE, tokens[0], same_as=peer + "/sql/feed")
        sides = {OURS: load(stage, ours + PAGE, tokens), PEER: load(stage, peer + "/sql/feed", tokens)}
        yield Contest("requests/s", sides, [Goal("read a page, beside SQL", "≥", (8,), PEER)])


def depth(stage: Stage) -> Iterator[Contest]:
    """Time of a request for the last page of a feed of 1000 beside the first, the server being busy all the time."""
    settings = stage.settings("town", world.town)
    tokens = warm_readers(stage)
    with web(settings, stage.folder) as url:
        deep = f"{url}{PAGE}&offset=990"
        check(deep, tokens[0])
        sides = {OURS: cost(load(stage, deep, tokens)), FLOOR: cost(load(stage, url + PAGE, tokens))}
        yield Contest("µs", sides, [Goal("read at offset 990, beside 0", "≤", (1.3,), FLOOR)])


def warm_readers(stage: Stage) -> list[str]:
    """Tokens of the readers who follow 200; their feeds are in Redis, on which the first requests find all bodies."""
    with stage.app(stage.settings("town", world.town)):
        for number in world.FANS:
            service.reconcile(world.user(number))
        return [issue_token(world.user(number)) for number in world.FANS]


def load(stage: Stage, url: str, tokens: list[str]) -> Callable[[], float]:
    return lambda: max(rate(url, tokens, SECONDS, stage.folder) for _ in range(QUICK_LOADS if stage.quick else LOADS))


def cost(measure: Callable[[], float]) -> Callable[[], float]:
    return lambda: 1e6 / measure()


def check(url: str, token: str, same_as: str | None = None) -> None:
    """Read the page from the cache, and be sure that it is full, and what the peer's is."""
    page, source = _get(url, token)
    assert len(page) == 10, f"a page of {len(page)} posts"
    assert source == "cache", f"the page comes from {source}"
    assert same_as is None or page == _get(same_as, token)[0], "the peer answers another page"


def _get(url: str, token: str) -> tuple[list[dict[str, str]], str | None]:
    with urlopen(Request(url, headers={"X-Auth": token})) as answer:
        return json.load(answer), answer.headers.get("X-Feed-Source")
