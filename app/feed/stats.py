"""What is known of all feeds together. The one owner of the keys:

stats:feeds      string   Count in JSON, for KEPT_SECONDS
stats:counting   string   somebody counts, or has just done so, for CENSUS_SECONDS
stats:verify     string   Verdict in JSON
"""

import json
from dataclasses import asdict, dataclass
from time import time
from typing import cast

from app.feed import census
from app.feed.verify import Report
from app.redis import client

FEEDS_KEY, COUNTING_KEY, VERIFY_KEY = "stats:feeds", "stats:counting", "stats:verify"
CENSUS_SECONDS = 60
KEPT_SECONDS = 600
SAMPLE = 5000  # feeds that are looked at; how many there are is an estimate where there are more


@dataclass(frozen=True)
class Count:
    """How many feeds Redis holds, the bytes that one takes (0 where there is none), and when they were counted."""

    feeds: int
    feed_bytes: float
    timestamp: float


@dataclass(frozen=True)
class Verdict:
    """What the last `verify-feeds` found in everybody's feed (`full`) or in a sample."""

    checked: int
    divergent: int
    cold: int
    repaired: int
    timestamp: float
    full: bool


def count_feeds() -> bool:
    """Count all feeds, unless somebody did within CENSUS_SECONDS. Returns whether it did."""
    if not client().set(COUNTING_KEY, 1, nx=True, ex=CENSUS_SECONDS):
        return False
    *_, taken = census.take(SAMPLE, with_readers=False)
    count = Count(round(taken.cached / taken.share), taken.size / taken.cached if taken.cached else 0.0, time())
    client().set(FEEDS_KEY, json.dumps(asdict(count)), ex=KEPT_SECONDS)
    return True


def last_count() -> Count | None:
    """The last count; None where there is none."""
    found = cast(bytes | None, client().get(FEEDS_KEY))
    return Count(**json.loads(found)) if found else None


def keep_verdict(report: Report, *, full: bool) -> None:
    verdict = Verdict(report.checked, len(report.divergent), report.cold, report.repaired, time(), full)
    client().set(VERIFY_KEY, json.dumps(asdict(verdict)))


def verdict() -> Verdict | None:
    """The last one; None where there is none."""
    found = cast(bytes | None, client().get(VERIFY_KEY))
    return Verdict(**json.loads(found)) if found else None
