"""Measured constants; `python -m benchmarks.constants` measures them again.

Two shared cores of an AMD EPYC on which everything ran; PostgreSQL 18, Redis 7.0, RabbitMQ 3.10, Python 3.11. Times are
those that processes spent on a processor, so they are for one core. Other work beside them made them longer, by up to a
third: a dedicated machine does better. A read was measured later, on a machine that was 1.6 times as fast: 107 us of
the web, 25 of Redis. Both are scaled to the machine of the others.
"""

from dataclasses import astuple, dataclass, field, fields
from typing import Any

PROGRAMS = ("web", "worker", "redis", "postgresql", "rabbitmq")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Microseconds of a core that one action takes of each program."""

    how: str
    web: float = 0
    worker: float = 0
    redis: float = 0
    postgresql: float = 0
    rabbitmq: float = 0

    def of(self, program: str) -> float:
        return float(getattr(self, program))


COSTS = {
    "read": Cost(
        how="a page of 10 from a warm feed by HTTP, gunicorn with 2 processes, 16 connections", web=170, redis=40
    ),
    "cold_read": Cost(how="a feed of 1000 posts by 50 authors built from SQL", web=900, redis=400, postgresql=1_200),
    "login": Cost(how="POST /login by HTTP: argon2id with 64 MiB", web=190_000, redis=300, postgresql=500),
    "post": Cost(
        how="POST /post/create by HTTP, its event, one message for 10 followers",
        web=2_000,
        worker=3_700,
        redis=500,
        postgresql=1_800,
        rabbitmq=1_200,
    ),
    "delivery": Cost(
        how="a post to 100,000 full feeds in messages of 1000: fan-out, push, check",
        worker=4.8,
        redis=4.3,
        postgresql=1.6,
        rabbitmq=1.3,
    ),
    "follow": Cost(
        how="PUT /friend/set by HTTP, its event, the rebuild",
        web=3_100,
        worker=3_300,
        redis=680,
        postgresql=2_900,
        rabbitmq=900,
    ),
    "warm": Cost(
        how="a feed of 1000 posts by 50 authors, of 20,000 warmed together", worker=550, redis=370, postgresql=100
    ),
    "echo": Cost(how="a small message to an actor that does nothing, confirmed", worker=700, redis=75, rabbitmq=530),
}


def _bytes(value: float, how: str) -> Any:
    return field(default=value, metadata={"how": how})


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes for each thing that is kept."""

    entry: float = _bytes(10.25, "Redis: a post in a feed, ids of 19 digits")
    feed: float = _bytes(330, "Redis: a feed beside its entries: key, expiry, list")
    body: float = _bytes(350, "Redis: a post's body beside its text: key, version, JSON")
    user: float = _bytes(470, "PostgreSQL: a user, 220 bytes of biography, with indexes")
    follow: float = _bytes(245, "PostgreSQL: a follow, with its four indexes, inserted in random order")
    post: float = _bytes(140, "PostgreSQL: a post beside its text, with indexes")
    post_wal: float = _bytes(1_000, "PostgreSQL: WAL of a post, its event coming and going")
    follow_wal: float = _bytes(
        6_500, "PostgreSQL: WAL of a follow, with its event; whole pages after a checkpoint included"
    )


BYTES = Bytes()
RELAY_EVENTS = 220  # a second that one worker's relay takes to RabbitMQ, each confirmed


def render() -> str:
    """Everything that was measured, as a table."""
    lines = [["µs of a core for one", *PROGRAMS, "how"]]
    lines += [[name, *(_number(cost.of(program)) for program in PROGRAMS), cost.how] for name, cost in COSTS.items()]
    lines.append(["bytes of one", "", "", "", "", "", ""])
    for each, value in zip(fields(Bytes), astuple(BYTES), strict=True):
        lines.append([each.name, _number(value), "", "", "", "", each.metadata["how"]])
    lines.append(["a second", "", "", "", "", "", ""])
    for name in COSTS:
        cells = (COSTS[name].of(program) for program in PROGRAMS)
        lines.append([name, *(f"{1e6 / micros:.0f}" if micros else "—" for micros in cells), "by one core"])
    lines.append(
        ["relay", "", f"{RELAY_EVENTS}", "", "", "", "events that one worker's relay takes to RabbitMQ, confirmed"]
    )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_aligned(line, widths) for line in lines)


def _number(value: float) -> str:
    return f"{value:g}" if value else "—"


def _aligned(line: list[str], widths: list[int]) -> str:
    name, *figures, how = line
    cells = [name.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(figures, widths[1:], strict=False)), how]
    return "  ".join(cells).rstrip()
