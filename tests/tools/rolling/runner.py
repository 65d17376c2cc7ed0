"""A run: load, restarts, and a final check of all accepted writes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle
from time import monotonic

from app.db.engine import POSTS
from tests.tools.chaos import verify
from tests.tools.chaos.quiescence import wait_until_quiet
from tests.tools.rolling.clients import Client, Log
from tests.tools.rolling.fleet import Fleet
from tests.tools.rolling.live import Watchers

USERS = 12
FOLLOWED = 4
SCREENS, SOCKETS = 12, 6  # live clients by server-sent events, and by WebSocket

Say = Callable[[str], None]


@dataclass
class Report:
    requests: int = 0
    slowest: float = 0.0
    stops: dict[str, list[float]] = field(default_factory=dict)
    posts: int = 0
    until_quiet: float = 0.0
    live: str = ""
    sent_away: int = 0  # live clients
    lost: list[str] = field(default_factory=list)  # requests that were not answered, or not with 200
    missing: list[str] = field(default_factory=list)  # accepted, and not there

    def text(self) -> str:
        restarts = ", ".join(
            f"{len(seconds)} of {kind} (slowest {max(seconds):.1f} s)"
            for kind, seconds in self.stops.items()
            if seconds
        )
        return (
            f"restarts: {restarts}\n"
            f"requests: {self.requests:,}, lost: {len(self.lost)}, slowest answer {self.slowest:.2f} s\n"
            f"accepted posts: {self.posts:,}, missing: {len(self.missing)}, quiet after {self.until_quiet:.0f} s\n"
            f"{self.live}"
        )


def run(fleet: Fleet, seconds: float, say: Say) -> Report:
    tokens = fleet.populate(USERS)
    users = list(tokens)
    befriended = {(user, users[(n + step) % USERS]) for n, user in enumerate(users) for step in range(1, FOLLOWED + 1)}
    fleet.befriend(befriended)
    fleet.start()
    with closing(Watchers(fleet.balancer.port, tokens, SCREENS, SOCKETS)) as watchers:
        clients = _restart_under_load(fleet, tokens, monotonic() + seconds, say)
        report = _report(fleet, [client.log for client in clients], befriended, tokens)
        report.missing += watchers.problems(verify.read_truth(fleet, tokens))
        report.live, report.sent_away = watchers.text(), watchers.sent_away()
    return report


def _restart_under_load(fleet: Fleet, tokens: dict[int, str], until: float, say: Say) -> list[Client]:
    stopping = threading.Event()
    clients = [Client(fleet.balancer.port, tokens, user, n % 2 == 0, stopping) for n, user in enumerate(tokens)]
    for client in clients:
        client.start()
    try:
        _restart(fleet, until, say)
    finally:
        stopping.set()
        for client in clients:
            client.join(40)
    return clients


def _restart(fleet: Fleet, until: float, say: Say) -> None:
    """All of them in turn, at least once, until the time is over."""
    for number, (name, step) in enumerate(cycle(_steps(fleet))):
        if monotonic() > until and number >= len(_steps(fleet)):
            return
        started = monotonic()
        step()
        say(f"{name}: {monotonic() - started:.1f} s\n")


def _steps(fleet: Fleet) -> list[tuple[str, Callable[[], None]]]:
    return [
        ("web 1 restarted", lambda: fleet.restart_web(0)),
        ("worker 1 restarted", lambda: fleet.restart_worker(0)),
        ("web 2 restarted", lambda: fleet.restart_web(1)),
        ("web 1 reloaded by HUP", lambda: fleet.reload_web(0)),
        ("worker 2 restarted", lambda: fleet.restart_worker(1)),
    ]


def _report(fleet: Fleet, logs: list[Log], befriended: set[tuple[int, int]], tokens: dict[int, str]) -> Report:
    report = Report(sum(log.requests for log in logs), max(log.slowest for log in logs), fleet.stops)
    report.lost = [problem for log in logs for problem in log.wrong]
    report.until_quiet = wait_until_quiet(fleet)
    accepted = {post: author for log in logs for post, author in log.posts.items()}
    report.posts = len(accepted)
    report.missing += _missing(fleet, accepted, logs, befriended, tokens)
    verified = fleet.flask("verify-feeds", "--json")
    if verified["checked"] != len(tokens) or verified["divergent"] or verified["cold"]:
        report.missing.append(f"verify-feeds says {json.dumps(verified)}")
    return report


def _missing(
    fleet: Fleet, accepted: dict[int, int], logs: list[Log], befriended: set[tuple[int, int]], tokens: dict[int, str]
) -> Iterator[str]:
    """Yield accepted writes that are missing in SQL or in a follower's list."""
    expected = dict.fromkeys(befriended, True) | {pair: state for log in logs for pair, state in log.follows.items()}
    follows = set(fleet.sql(POSTS, "SELECT follower_id, followee_id FROM follows"))
    for pair, state in expected.items():
        if (pair in follows) != state:
            yield f"{pair} is {pair in follows} among the follows, and was accepted as {state}"
    truth = verify.read_truth(fleet, tokens)
    lists = {user: set(ids) for user, ids in verify.read_lists(fleet, truth).items()}
    for post, author in accepted.items():
        for follower, followee in follows:
            if followee == author and post not in lists[follower]:
                yield f"post {post} of {author} is not in the feed of {follower}"
