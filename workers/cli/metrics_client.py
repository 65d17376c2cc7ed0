"""Scrapes /metrics of web and workers, and adds them up."""

import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_SECONDS = 3.0
READS = "lenta_feed_reads"
LAG = "lenta_delivery_lag_seconds"
CACHE = "cache"  # the source of a page that is a hit


@dataclass
class Scraped:
    """The scraped metrics, counted since the processes started.

    `families`: names of all metrics. `reads`: feed pages by source. `lag`: cumulative histogram, deliveries by upper
    bound in seconds. `away`: reasons by unavailable URL.
    """

    families: set[str] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    lag: Counter[float] = field(default_factory=Counter)
    away: dict[str, str] = field(default_factory=dict)

    @property
    def hit_ratio(self) -> float | None:
        """Return the share of pages served from the cache. None if no page was read."""
        total = self.reads.total()
        return self.reads[CACHE] / total if total else None


def scrape(urls: tuple[str, ...]) -> Scraped:
    """Scrape these URLs."""
    scraped = Scraped()
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # nosec B310
                add(scraped, answer.read().decode())
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) and not hasattr(error, "code") else error
            scraped.away[url] = str(reason)
    return scraped


def add(scraped: Scraped, text: str) -> None:
    """Add a page in the Prometheus text format. Raises ValueError if it is malformed."""
    families = list(text_string_to_metric_families(text))
    scraped.families |= {family.name for family in families}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == f"{READS}_total":
            scraped.reads[sample.labels["source"]] += int(sample.value)
        elif sample.name == f"{LAG}_bucket":
            scraped.lag[float(sample.labels["le"])] += int(sample.value)


def quantile(buckets: Counter[float], share: float) -> float | None:
    """Estimate a quantile of a histogram like Prometheus, interpolating linearly in a bucket.

    Returns None without observations, and the last finite bound for values beyond it.
    """
    rank = share * buckets[inf]
    lower, below = 0.0, 0
    for bound, number in sorted(buckets.items()):
        if number >= rank and number > below:
            return lower if bound == inf else lower + (bound - lower) * (rank - below) / (number - below)
        lower, below = bound, number
    return None
