"""Reading a feed over HTTP."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.request import Request, urlopen

import psutil

from app.auth.tokens import issue_token
from app.feed.rebuild import rebuild_or_raise
from benchmarks import datasets
from benchmarks.comparison import FLOOR, OURS, PEER, Contest, Goal, Measure
from benchmarks.environment import Stage
from benchmarks.load import processor_micros, rate
from benchmarks.processes import fastapi_process, web, web_process
from local.managed_process import Process

# The kernel may give all connections to one of two gunicorn workers. So a round is the best of several loads with new
# connections.
LOADS, QUICK_LOADS = 3, 1
SECONDS = 1  # of each
SQL_APP = "benchmarks.alternatives:create_sql_app()"
PAGE = "/post/feed?limit=10"


def read(stage: Stage) -> Iterator[Contest]:
    """Measure a warm first page against a FastAPI program and an empty Flask route: requests, processor time."""
    settings = stage.settings("many_followees", datasets.many_followees)
    tokens = warm_readers(stage)
    with (
        web_process(settings, stage.folder) as ours,
        web_process(settings, stage.folder, "benchmarks.baselines:app") as floor,
        fastapi_process(settings, stage.folder) as peer,
    ):
        check(ours[0] + PAGE, tokens[0], same_as=peer[0] + PAGE)
        sides = {OURS: (*ours, PAGE), FLOOR: (*floor, "/"), PEER: (*peer, PAGE)}
        rates = {side: load(stage, url + path, tokens) for side, (url, _, path) in sides.items()}
        yield Contest("requests/s", rates, [Goal("read a page, beside FastAPI", "≥", (1.0, 1.25), PEER)])
        costs = {side: micros(stage, url + path, tokens, process) for side, (url, process, path) in sides.items()}
        yield Contest("µs", costs, [Goal("the same, time on a core", "≤", (1.0, 0.8), PEER)])


def read_logged(stage: Stage) -> Iterator[Contest]:
    """Measure the same with the access log, against without: ours, and the FastAPI program's."""
    settings = stage.settings("many_followees", datasets.many_followees)
    logged = replace(settings, log_level="info")
    tokens = warm_readers(stage)
    for name, server, targets in (
        ("read a page, access log", web_process, (0.9,)),
        ("the same by FastAPI", fastapi_process, ()),
    ):
        with server(logged, stage.folder) as (ours, _), server(settings, stage.folder) as (floor, _):
            sides = {OURS: load(stage, ours + PAGE, tokens), FLOOR: load(stage, floor + PAGE, tokens)}
            yield Contest("requests/s", sides, [Goal(name, "≥", targets, FLOOR)])


def read_memory(stage: Stage) -> Iterator[Contest]:
    """Measure the memory of the web's processes against the FastAPI program: at rest, and under load."""
    settings = stage.settings("many_followees", datasets.many_followees)
    tokens = warm_readers(stage)
    with web_process(settings, stage.folder) as ours, fastapi_process(settings, stage.folder) as peer:
        rest: dict[str, Measure] = {OURS: lambda: mebibytes(ours[1]), PEER: lambda: mebibytes(peer[1])}
        yield Contest("MiB", rest, [Goal("memory of the web at rest", "≤", (1.3,), PEER)])

        def loaded(url: str, process: Process) -> Measure:
            def measure() -> float:
                rate(url + PAGE, tokens, SECONDS, stage.folder)
                return mebibytes(process)

            return measure

        yield Contest("MiB", {OURS: loaded(*ours), PEER: loaded(*peer)}, [Goal("under load", "≤", (1.3,), PEER)])


def mebibytes(server: Process) -> float:
    """Measure the memory of a process and its children. Each has its share of the pages that several have."""
    process = psutil.Process(server.pid)
    return float(sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True)))) / 2**20


def read_sql(stage: Stage) -> Iterator[Contest]:
    """Measure the same page against SQL, for readers of 200 authors with 100 posts each."""
    settings = stage.settings("many_followees", datasets.many_followees)
    tokens = warm_readers(stage)
    with web(settings, stage.folder) as ours, web(settings, stage.folder, SQL_APP) as peer:
        check(ours + PAGE, tokens[0], same_as=peer + "/sql/feed")
        sides = {OURS: load(stage, ours + PAGE, tokens), PEER: load(stage, peer + "/sql/feed", tokens)}
        yield Contest("requests/s", sides, [Goal("read a page, beside SQL", "≥", (10,), PEER)])


def depth(stage: Stage) -> Iterator[Contest]:
    """Measure the last page of a feed of 1000 against the first."""
    settings = stage.settings("many_followees", datasets.many_followees)
    tokens = warm_readers(stage)
    with web(settings, stage.folder) as url:
        deep = f"{url}{PAGE}&offset=990"
        check(deep, tokens[0])
        sides = {OURS: cost(load(stage, deep, tokens)), FLOOR: cost(load(stage, url + PAGE, tokens))}
        yield Contest("µs", sides, [Goal("read at offset 990, beside 0", "≤", (1.3,), FLOOR)])


def warm_readers(stage: Stage) -> list[str]:
    """Log in the readers of 200 authors, with their feeds and all bodies in Redis."""
    with stage.app(stage.settings("many_followees", datasets.many_followees)):
        for number in datasets.HEAVY_READERS:
            rebuild_or_raise(datasets.user(number))
        return [issue_token(datasets.user(number)) for number in datasets.HEAVY_READERS]


def load(stage: Stage, url: str, tokens: list[str]) -> Callable[[], float]:
    return lambda: max(rate(url, tokens, SECONDS, stage.folder) for _ in range(QUICK_LOADS if stage.quick else LOADS))


def micros(stage: Stage, url: str, tokens: list[str], server: Process) -> Callable[[], float]:
    """Measure the processor time of a server, in microseconds a request."""
    seconds = SECONDS * (QUICK_LOADS if stage.quick else LOADS)
    return lambda: processor_micros(url, tokens, seconds, stage.folder, server.pid)


def cost(measure: Callable[[], float]) -> Callable[[], float]:
    return lambda: 1e6 / measure()


def check(url: str, token: str, same_as: str | None = None) -> None:
    """Read a full page from the cache, and compare it with the alternative's."""
    page, source = fetch(url, token)
    assert len(page) == 10, f"a page of {len(page)} posts"
    assert source == "cache", f"the page comes from {source}"
    assert same_as is None or page == fetch(same_as, token)[0], "the peer answers another page"


def fetch(url: str, token: str) -> tuple[list[dict[str, str]], str | None]:
    with urlopen(Request(url, headers={"X-Auth": token})) as answer:
        return json.load(answer), answer.headers.get("X-Feed-Source")
