"""The state of the service at a glance: what each server tells, and which of them is away."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import redis
from sqlalchemy.exc import SQLAlchemyError

from app.db import POSTS, ask, commit, db
from app.feed import census, follows
from app.feed.service import given_up
from app.posts import outbox
from app.redis import client
from workers import queues
from workers.broker import BROKER_AWAY
from workers.scraped import LAG, READS, Scraped, quantile, scrape

DATABASE_SECONDS = 2.0
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
AWAY = (psycopg2.Error, SQLAlchemyError, redis.RedisError, *BROKER_AWAY)

Figures = dict[str, Any]
Watch = Callable[[Iterator[census.Census], int | None], census.Census]


def collect(broker: Any, urls: tuple[str, ...], sample: int | None, watch: Watch) -> Figures:
    """All figures; None in place of what is not known. `watch` sees the census through, and shows it."""
    away: dict[str, str] = {}
    readers, waiting = _ask("posts database", _read_posts, away) or (None, None)
    feeds = _ask("redis", lambda: _read_feeds(readers, sample, watch), away)
    scraped = scrape(urls)
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "readers": readers,
        "feeds": feeds,
        "reads": _reads(scraped),
        "lag_seconds": _lag(scraped),
        "outbox": waiting,
        "queues": _ask("broker", lambda: {k: d._asdict() for k, d in queues.depths(broker).items()}, away),
        "given_up": None if feeds is None else _ask("redis", given_up, away),
    }
    return found | {"away": away | scraped.away}


def _ask(name: str, question: Callable[[], Any], away: dict[str, str]) -> Any:
    try:
        return question()
    except AWAY as error:
        db.session.rollback()
        away[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
        return None


def _read_posts() -> tuple[int, Figures]:
    ask(POSTS, "SELECT 1", DATABASE_SECONDS)  # a frozen server is noticed here
    readers, waiting = follows.count_readers(), {"rows": outbox.size(), "oldest_seconds": outbox.oldest_age()}
    commit()
    return readers, waiting


def _read_feeds(readers: int | None, sample: int | None, watch: Watch) -> Figures:
    client().ping()
    counted = watch(census.take(sample, with_readers=readers is not None), readers)
    whole = 1 / counted.share
    return {
        "cached": round(counted.cached * whole),
        "complete": round(counted.complete * whole),
        "cold": None if readers is None else counted.cold(readers),
        "entries": round(counted.posts * whole),
        "bytes": round(counted.size * whole),
        "bytes_per_entry": round(counted.size / counted.posts, 1) if counted.posts else None,
        "sampled": counted.cached if counted.share < 1 else None,
    }


def _reads(scraped: Scraped) -> Figures | None:
    return {"total": scraped.reads.total(), "hits": scraped.hits} if READS in scraped.families else None


def _lag(scraped: Scraped) -> Figures | None:
    if LAG not in scraped.families or (scraped.away and not scraped.lag.total()):
        return None  # whoever has seen deliveries may be the one that is away
    return {name: quantile(scraped.lag, share) for name, share in QUANTILES.items()}
