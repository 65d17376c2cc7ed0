"""Proving that the feeds in Redis are what SQL says."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from random import sample
from time import monotonic, sleep

from app.db import commit
from app.feed import service, timeline, truth
from app.settings import settings

BATCH = 200
RECHECK_SECONDS = 0.5

MISSING = "missing"  # SQL has a post there that the list has not
STALE = "stale"  # the list has a post that SQL has not there
DISORDER = "out of order"
REPEATED = "repeated"
FALSE_END = "false end mark"  # the list says that nothing is older, and something is
KINDS = (MISSING, STALE, DISORDER, REPEATED, FALSE_END)

Difference = tuple[str, int]  # kind, the post that shows it


@dataclass
class Report:
    """What was found. `divergent` has the differences that stayed, by user."""

    checked: int = 0
    cold: int = 0
    divergent: dict[int, set[Difference]] = field(default_factory=dict)
    repaired: int = 0

    @property
    def exact(self) -> int:
        return self.checked - self.cold - len(self.divergent)

    def kinds(self) -> dict[str, int]:
        """How many feeds show each kind of difference."""
        return {
            kind: sum(any(kind == found for found, _ in differences) for differences in self.divergent.values())
            for kind in KINDS
        }


def everybody() -> Iterator[int]:
    """All who follow somebody or have a feed in Redis, each once."""
    seen = set()
    after = 0
    while batch := truth.readers(after, BATCH):
        commit()
        after = batch[-1]
        seen.update(batch)
        yield from batch
    for user_id in timeline.cached_users():
        if user_id not in seen:
            seen.add(user_id)
            yield user_id


def sampled(size: int) -> list[int]:
    """`size` random users with a feed in Redis, or all if there are fewer."""
    users = list(set(timeline.cached_users()))
    return sample(users, min(size, len(users)))


def verify(user_ids: Iterable[int], *, settle: float, repair: bool = False) -> Iterator[Report]:
    """Compare these feeds with SQL, a batch at a time; yields the report so far.

    Safe while writes go on: a difference counts if the very same is seen again and again for `settle` seconds.
    With `repair` divergent feeds are rebuilt, and count as divergent only if that did not help.
    """
    report = Report()
    remaining = iter(user_ids)
    while batch := list(islice(remaining, BATCH)):
        found, cold = differences(batch)
        found = _settled(found, settle)
        if repair and found:
            report.repaired += len(found)
            for user_id in found:
                service.rebuild(user_id)
            found = _settled(differences(list(found))[0], settle)
            report.repaired -= len(found)
        report.checked += len(batch)
        report.cold += cold
        report.divergent |= found
        yield report


def differences(user_ids: Sequence[int]) -> tuple[dict[int, set[Difference]], int]:
    """What differs now, by user, and how many of these feeds are cold."""
    cap = settings().feed_cap
    lists = {user_id: ids for user_id, ids in zip(user_ids, timeline.ids_of(user_ids), strict=True) if ids}
    newest = dict(truth.newest_ids_of(list(lists), cap + 1))
    commit()  # the next comparison reads SQL anew, and holds no transaction while it waits
    compared = {
        user_id: compare([int(e) for e in ids], [int(i) for i in newest[user_id]], cap)
        for user_id, ids in lists.items()
    }
    return {user_id: found for user_id, found in compared.items() if found}, len(user_ids) - len(lists)


def compare(elements: Sequence[int], newest: Sequence[int], cap: int) -> set[Difference]:
    """How a list differs from the newest `cap` + 1 ids of SQL."""
    end = int(timeline.END)
    marked = elements[-1] == end
    ids = elements[:-1] if marked else elements
    last = min(ids, default=truth.END_OF_TIME)
    expected = newest[:cap]
    found: set[Difference] = {(STALE, i) for i in set(ids) - set(expected)}
    found |= {(MISSING, i) for i in set(expected) - set(ids) if i > last}
    found |= {(REPEATED, i) for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    found |= {(DISORDER, below) for above, below in pairwise(ids) if above < below}
    found |= {(FALSE_END, i) for i in newest if marked and i < last}
    return found


def _settled(found: dict[int, set[Difference]], seconds: float) -> dict[int, set[Difference]]:
    """Those differences that stay for `seconds`."""
    deadline = monotonic() + seconds
    while found and monotonic() < deadline:
        sleep(min(RECHECK_SECONDS, max(0.0, deadline - monotonic())))
        again, _ = differences(list(found))
        found = {user_id: same for user_id in again if (same := found[user_id] & again[user_id])}
    return found
