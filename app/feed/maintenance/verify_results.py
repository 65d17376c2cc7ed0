"""Stores the result of the last verify-feeds. Owns the key:

stats:verify   string   VerifyResult in JSON
"""

import json
from dataclasses import asdict, dataclass
from time import time
from typing import cast

from app.feed.maintenance.verify import Report
from app.redis.client import client

VERIFY_KEY = "stats:verify"


@dataclass(frozen=True)
class VerifyResult:
    """The result of the last `verify-feeds` over all feeds (`full`) or a sample."""

    checked: int
    divergent: int
    cold: int
    repaired: int
    timestamp: float
    full: bool


def save(report: Report, *, full: bool) -> None:
    result = VerifyResult(report.checked, len(report.divergent), report.cold, report.repaired, time(), full)
    client().set(VERIFY_KEY, json.dumps(asdict(result)))


def last() -> VerifyResult | None:
    """Return the last result, or None."""
    found = cast(bytes | None, client().get(VERIFY_KEY))
    return VerifyResult(**json.loads(found)) if found else None
