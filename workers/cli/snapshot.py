"""Collects the state of the service from all servers, and which are unavailable."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import redis
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import POSTS, commit, db, fetch_one
from app.feed.invalidate import failed_message_count
from app.feed.maintenance import counts
from app.observability.logging import one_line
from app.posts import follows, outbox
from app.redis.client import client
from workers import queues
from workers.cli.metrics_client import LAG, READS, Scraped, quantile, scrape
from workers.errors import BROKER_UNAVAILABLE

DATABASE_SECONDS = 2.0
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
AWAY = (psycopg2.Error, SQLAlchemyError, redis.RedisError, *BROKER_UNAVAILABLE)

Figures = dict[str, Any]
ProgressCallback = Callable[[Iterator[counts.FeedCounts], int | None], counts.FeedCounts]


def collect(broker: Any, urls: tuple[str, ...], sample: int | None, watch: ProgressCallback) -> Figures:
    """Collect all figures; unknown ones are None. `watch` consumes the counts and shows progress."""
    away: dict[str, str] = {}
    readers, waiting = _ask("posts database", _read_posts, away) or (None, None)
    feeds = _ask("redis", lambda: _read_feeds(readers, sample, watch), away)
    scraped = scrape(urls)
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "readers": readers,
        "feeds": feeds,
        "reads": {"total": scraped.reads.total(), "hits": scraped.hit_ratio} if READS in scraped.families else None,
        "lag_seconds": _lag(scraped),
        "outbox": waiting,
        "queues": _ask("broker", lambda: {k: d._asdict() for k, d in queues.depths(broker).items()}, away),
        "given_up": None if feeds is None else _ask("redis", failed_message_count, away),
    }
    return found | {"away": away | scraped.away}


def _ask(name: str, question: Callable[[], Any], away: dict[str, str]) -> Any:
    try:
        return question()
    except AWAY as error:
        db.session.rollback()
        away[name] = one_line(error)
        return None


def _read_posts() -> tuple[int, Figures]:
    fetch_one(POSTS, "SELECT 1", DATABASE_SECONDS)  # detects a frozen server
    readers, waiting = (
        follows.count_users_with_followees(),
        {"rows": outbox.size(), "oldest_seconds": outbox.oldest_age()},
    )
    commit()
    return readers, waiting


def _read_feeds(readers: int | None, sample: int | None, watch: ProgressCallback) -> Figures:
    client().ping()
    counted = watch(counts.count(sample, with_readers=readers is not None), readers)
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


def _lag(scraped: Scraped) -> Figures | None:
    if LAG not in scraped.families or (scraped.away and not scraped.lag.total()):
        return None  # the process that saw deliveries may be the unreachable one
    return {name: quantile(scraped.lag, share) for name, share in QUANTILES.items()}
