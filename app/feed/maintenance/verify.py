"""Verifies that feeds and bodies in Redis are exactly what SQL says."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from random import sample
from time import monotonic, sleep

from app.db.engine import commit
from app.feed import store
from app.feed.cache import cached_users, post_bodies, timeline
from app.feed.hybrid import merge
from app.feed.rebuild import rebuild, rebuild_authors_of
from app.ids import MAX_ID
from app.posts import follows
from app.settings import settings

BATCH = 200
BODY_BATCH = 1000
RECHECK_SECONDS = 0.5

MISSING = "missing"  # in SQL, not in the list
STALE = "stale"  # in the list, not in SQL
DISORDER = "out of order"
REPEATED = "repeated"
WRONG_END_MARK = "false end mark"  # the list claims to be complete, but SQL has older posts
WRONG_PULLED = "wrong pulled authors"  # the mark differs from the pulled followees
WRONG_BODY = "wrong body"  # the cached post has another text or version, or is one that SQL does not have
KINDS = (MISSING, STALE, DISORDER, REPEATED, WRONG_END_MARK, WRONG_PULLED, WRONG_BODY)

END = int(timeline.END_MARK)

Difference = tuple[str, int]  # kind, and the id of the post or author


@dataclass
class Report:
    """The result of a verification. `divergent`: persistent differences by user."""

    checked: int = 0
    cold: int = 0
    divergent: dict[int, set[Difference]] = field(default_factory=dict)
    repaired: int = 0

    @property
    def exact(self) -> int:
        return self.checked - self.cold - len(self.divergent)

    def kinds(self) -> dict[str, int]:
        """Count the feeds that show each kind of difference."""
        return {
            kind: sum(any(kind == found for found, _ in differences) for differences in self.divergent.values())
            for kind in KINDS
        }


def all_user_ids() -> Iterator[int]:
    """Yield each user that follows an author or has a feed in Redis, once."""
    seen = set()
    after = 0
    while batch := follows.users_with_followees(after, BATCH):
        commit()
        after = batch[-1]
        seen.update(batch)
        yield from batch
    for user_id in cached_users.scan():
        if user_id not in seen:
            seen.add(user_id)
            yield user_id


def sampled(size: int) -> list[int]:
    """Choose `size` random users with a feed in Redis, or all if there are fewer."""
    users = list(set(cached_users.scan()))
    return sample(users, min(size, len(users)))


def verify(user_ids: Iterable[int], *, recheck_seconds: float, repair: bool = False) -> Iterator[Report]:
    """Compare these feeds with SQL in batches. Yields the report so far.

    Safe during writes: a difference counts only if it persists for `recheck_seconds`.
    With `repair`, divergent feeds are rebuilt and checked again.
    """
    report = Report()
    remaining = iter(user_ids)
    while batch := list(islice(remaining, BATCH)):
        found, cold = differences(batch)
        found = _persistent(found, recheck_seconds)
        if repair and found:
            report.repaired += len(found)
            post_bodies.refresh([i for kinds in found.values() for kind, i in kinds if kind == WRONG_BODY])
            rebuild_authors_of(list(found))
            for user_id in found:
                rebuild(user_id)
            found = _persistent(differences(list(found))[0], recheck_seconds)
            report.repaired -= len(found)
        report.checked += len(batch)
        report.cold += cold
        report.divergent |= found
        yield report


def differences(user_ids: Sequence[int]) -> tuple[dict[int, set[Difference]], int]:
    """Return the current differences by user, and the number of cold feeds."""
    cap = settings().feed_cap
    contents = timeline.load_many(map(timeline.HOME.key, user_ids))
    lists = {user_id: own for user_id, own in zip(user_ids, contents, strict=True) if own.ids}
    authors = _authors_lists({author_id for own in lists.values() for author_id in own.pulled})
    newest = dict(store.select_newest_ids(list(lists), cap + 1))
    pulled, in_transition = store.select_pulled(lists), store.select_authors_in_transition()
    commit()  # the next comparison needs a new snapshot, and waits without a transaction
    wrong_bodies = _wrong_bodies({int(i) for own in (*lists.values(), *authors.values()) for i in own.ids} - {END})
    compared: dict[int, set[Difference]] = {}
    for user_id, own in lists.items():
        parts = [own, *(authors[author_id] for author_id in own.pulled)]
        merged = own.ids if len(parts) == 1 else merge.merge_complete(parts, cap)
        compared[user_id] = compare(_ints(merged), _ints(newest[user_id]), cap)
        compared[user_id] |= {found for part in parts[1:] for found in _check_order(_ints(part.ids))} | _check_order(
            _ints(own.ids)
        )
        wrong = set(own.pulled).symmetric_difference(pulled.get(user_id, ())) - in_transition
        compared[user_id] |= {(WRONG_PULLED, author_id) for author_id in wrong}
        compared[user_id] |= {(WRONG_BODY, i) for i in wrong_bodies.intersection(_ints(merged))}
    return {user_id: found for user_id, found in compared.items() if found}, len(user_ids) - len(lists)


def _authors_lists(author_ids: Collection[int]) -> dict[int, timeline.Contents]:
    """Load the lists of pulled authors. A cold one is computed from SQL."""
    lists = dict(zip(author_ids, timeline.load_many(map(timeline.AUTHOR.key, author_ids)), strict=True))
    cap = settings().feed_cap
    for author_id, own in lists.items():
        if not own.ids:
            ids = [post_id.encode() for post_id in store.select_newest_ids_by(author_id, cap)]
            lists[author_id] = timeline.Contents(ids + [timeline.END_MARK] * (len(ids) < cap), [])
    return lists


def _wrong_bodies(post_ids: Iterable[int]) -> set[int]:
    """Return the posts whose cached body differs from SQL. One that is not cached is right."""
    found: set[int] = set()
    remaining = iter(post_ids)
    while batch := list(islice(remaining, BODY_BATCH)):
        cached = post_bodies.cached_versioned(batch)
        found |= _different(cached, post_bodies.read_versioned(list(cached)))
    return found


def _different(cached: Mapping[int, bytes], true: Mapping[int, bytes]) -> set[int]:
    """Compare versions and texts: other versions of this service may serialize differently."""
    return {
        post_id
        for post_id, body in cached.items()
        if body != true[post_id] and _version_and_text(body) != _version_and_text(true[post_id])
    }


def _version_and_text(body: bytes) -> tuple[bytes, str | None]:
    version, post = body[: post_bodies.VERSION_DIGITS], body[post_bodies.VERSION_DIGITS :]
    return version, json.loads(post)["text"] if post else None


def _ints(elements: Iterable[bytes | str]) -> list[int]:
    return [int(element) for element in elements]


def compare(elements: Sequence[int], newest: Sequence[int], cap: int) -> set[Difference]:
    """Compare a list with the newest `cap` + 1 ids of SQL."""
    marked = elements[-1] == END
    ids = elements[:-1] if marked else elements
    last = min(ids, default=MAX_ID)
    expected = newest[:cap]
    found: set[Difference] = {(STALE, i) for i in set(ids) - set(expected)}
    found |= {(MISSING, i) for i in set(expected) - set(ids) if i > last}
    found |= {(WRONG_END_MARK, i) for i in newest if marked and i < last}
    return found | _check_order(ids)


def _check_order(ids: Sequence[int]) -> set[Difference]:
    """Find repeated and misplaced ids in a list."""
    found: set[Difference] = {(REPEATED, i) for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    return found | {(DISORDER, below) for above, below in pairwise(ids) if above < below}


def _persistent(found: dict[int, set[Difference]], seconds: float) -> dict[int, set[Difference]]:
    """Return the differences that persist for `seconds`."""
    deadline = monotonic() + seconds
    while found and monotonic() < deadline:
        sleep(min(RECHECK_SECONDS, max(0.0, deadline - monotonic())))
        again, _ = differences(list(found))
        found = {user_id: same for user_id in again if (same := found[user_id] & again[user_id])}
    return found
