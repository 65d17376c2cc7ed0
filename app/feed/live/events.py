"""Turns entries of the log into events for readers."""

import json
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from app.db import replica
from app.feed.cache import post_bodies
from app.feed.live.log import CHANGED, DELETED, EDITED, POSTED, Entry
from app.posts import follows


class Event(NamedTuple):
    """An event for some readers. `data` is JSON: the post, its id, or nothing."""

    entry_id: str
    name: str
    data: bytes
    reader_ids: Set[int]


def of(entries: Sequence[Entry], reader_ids: Set[int]) -> Iterator[Event]:
    """Yield the events for those of `reader_ids` that entries are about.

    Posts are as they are now. A post that is gone yields no event: the entry of its deletion follows.
    """
    bodies = _bodies([entry.post_id for entry in entries if entry.op in (POSTED, EDITED)])
    for entry in entries:
        data, author_id = b"{}", entry.author_id
        if entry.op in (POSTED, EDITED):
            data = bodies[entry.post_id]
            if not data:
                continue
            author_id = author_id or int(json.loads(data)["author_user_id"])
        elif entry.op == DELETED:
            data = b'{"id":"%d"}' % entry.post_id
        elif entry.op != CHANGED:
            continue
        if entry.reader_ids:
            found: Set[int] = {reader_id for reader_id in entry.reader_ids if reader_id in reader_ids}
        else:
            found = _followers(author_id, reader_ids)
        if found:
            yield Event(entry.id, entry.op, data, found)


def _followers(author_id: int, reader_ids: Set[int]) -> Set[int]:
    """Return the current followers among these. Later ones get CHANGED after this entry."""
    return set(replica.read_primary(follows.followers_among, author_id, list(reader_ids)))


def _bodies(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Load the JSON of posts, b"" where one is deleted."""
    cached = dict(zip(post_ids, post_bodies.cached(post_ids), strict=True))
    missing = [post_id for post_id, body in cached.items() if body is None]
    bodies = {post_id: body for post_id, body in cached.items() if body is not None}
    return bodies | (post_bodies.fill(missing) if missing else {})
