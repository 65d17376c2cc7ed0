"""Proving that the feeds in Redis are what SQL says."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from random import sample
from time import monotonic, sleep

from app.db import commit
from app.feed import authored, follows, merging, service, timeline, truth
from app.settings import settings

BATCH = 200
RECHECK_SECONDS = 0.5

MISSING = "missing"  # SQL has a post there that the list has not
STALE = "stale"  # the list has a post that SQL has not there
DISORDER = "out of order"
REPEATED = "repeated"
FALSE_END = "false end mark"  # the list says that nothing is older, and something is
WRONG_PULLED = "wrong pulled authors"  # the mark names one who is not pulled or not followed, or lacks one who is both
KINDS = (MISSING, STALE, DISORDER, REPEATED, FALSE_END, WRONG_PULLED)

Difference = tuple[str, int]  # kind, and the post that shows it, or the author


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
    while batch := follows.readers(after, BATCH):
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
            service.rebuild_authors_of(list(found))
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
    contents = timeline.contents_of(map(timeline.feed_key, user_ids))
    lists = {user_id: own for user_id, own in zip(user_ids, contents, strict=True) if own.ids}
    authors = _authors_lists({author_id for own in lists.values() for author_id in own.pulled})
    newest = dict(truth.newest_ids_of(list(lists), cap + 1))
    pulled, turning = truth.pulled_of(lists), truth.turning()
    commit()  # the next comparison reads SQL anew, and holds no transaction while it waits
    compared: dict[int, set[Difference]] = {}
    for user_id, own in lists.items():
        parts = [own, *(authors[author_id] for author_id in own.pulled)]
        merged = own.ids if len(parts) == 1 else merging.whole(parts, cap)
        compared[user_id] = compare(_ints(merged), _ints(newest[user_id]), cap)
        compared[user_id] |= {found for part in parts[1:] for found in _form(_ints(part.ids))} | _form(_ints(own.ids))
        wrong = set(own.pulled).symmetric_difference(pulled.get(user_id, ())) - turning
        compared[user_id] |= {(WRONG_PULLED, author_id) for author_id in wrong}
    return {user_id: found for user_id, found in compared.items() if found}, len(user_ids) - len(lists)


def _authors_lists(author_ids: Collection[int]) -> dict[int, timeline.Contents]:
    """The lists of pulled authors; for a cold one what it is built from when it is read."""
    lists = dict(zip(author_ids, timeline.contents_of(map(authored.key, author_ids)), strict=True))
    cap = settings().feed_cap
    for author_id, own in lists.items():
        if not own.ids:
            ids = [post_id.encode() for post_id in truth.newest_ids_by(author_id, cap)]
            lists[author_id] = timeline.Contents(ids + [timeline.END] * (len(ids) < cap), [])
    return lists


def _ints(elements: Iterable[bytes | str]) -> list[int]:
    return [int(element) for element in elements]


def compare(elements: Sequence[int], newest: Sequence[int], cap: int) -> set[Difference]:
    """How a list differs from the newest `cap` + 1 ids of SQL."""
    end = int(timeline.END)
    marked = elements[-1] == end
    ids = elements[:-1] if marked else elements
    last = min(ids, default=truth.END_OF_TIME)
    expected = newest[:cap]
    found: set[Difference] = {(STALE, i) for i in set(ids) - set(expected)}
    found |= {(MISSING, i) for i in set(expected) - set(ids) if i > last}
    found |= {(FALSE_END, i) for i in newest if marked and i < last}
    return found | _form(ids)


def _form(ids: Sequence[int]) -> set[Difference]:
    """What is wrong with the order of a list."""
    found: set[Difference] = {(REPEATED, i) for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    return found | {(DISORDER, below) for above, below in pairwise(ids) if above < below}


def _settled(found: dict[int, set[Difference]], seconds: float) -> dict[int, set[Difference]]:
    """Those differences that stay for `seconds`."""
    deadline = monotonic() + seconds
    while found and monotonic() < deadline:
        sleep(min(RECHECK_SECONDS, max(0.0, deadline - monotonic())))
        again, _ = differences(list(found))
        found = {user_id: same for user_id in again if (same := found[user_id] & again[user_id])}
    return found
