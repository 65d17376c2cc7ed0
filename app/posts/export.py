"""Exports all data of a user as lines of JSON.

Each batch is read in its own short transaction and then sent, so a slow client holds no connection to a database and no
snapshot, and memory holds no more than a batch. The lines are therefore not of one moment: a post that is written
during an export is not in it. The last line says that the export is complete; an error ends it without that line.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask, g

from app.db import replica
from app.ids import MAX_ID
from app.posts import follows, schemas, seen, store
from app.posts.follows import NEWEST
from app.users import service as users

POSTS_BATCH = 100
BATCH_BYTES = 256 * 1024  # of text in a batch of posts, but at least one post
RELATIONS_BATCH = 1000
CHUNK_BYTES = 64 * 1024  # sent at once, as the time for that is limited

# The types of lines on follows and blocks, the field with their time, and their query.
RELATIONS = (
    ("following", "followed_at", follows.newest_followees),
    ("follower", "followed_at", follows.newest_followers),
    ("block", "blocked_at", follows.newest_blocked),
)

Line = dict[str, Any]


def stream(app: Flask, user_id: int, profile: Line, request_id: str) -> Iterator[bytes]:
    """Yield an export in chunks, after the request has ended.

    Each batch has an application context, whose end gives connections back.
    """
    batches = _batches(user_id)
    lines: list[Line] | None = [{"type": "profile"} | profile]
    while lines is not None:
        yield from _chunks(lines)
        with app.app_context():
            g.request_id = request_id  # for log lines
            lines = next(batches, None)


def _batches(user_id: int) -> Iterator[list[Line]]:
    """Read all but the profile, newest first. Raises NotFound at the end if the account has been deleted."""
    before = MAX_ID
    while posts := replica.read_fresh(store.select_posts_by, user_id, POSTS_BATCH, BATCH_BYTES, before)[0]:
        before = posts[-1].id
        yield [{"type": "post"} | schemas.dump(post) for post in posts]
    for type_, time, select in RELATIONS:
        end = NEWEST
        while found := replica.read_fresh(select, user_id, RELATIONS_BATCH, end):
            end = found[-1]
            yield [{"type": type_, "id": str(other), time: since.isoformat()} for since, other in found]
    read_up_to = replica.read_primary(seen.of_user, user_id)
    if read_up_to is not None:
        yield [{"type": "seen", "id": str(read_up_to)}]
    users.ensure_exists(user_id)
    yield [{"type": "end"}]


def _chunks(lines: Iterable[Line]) -> Iterator[bytes]:
    """Encode lines, and join those that are short."""
    chunk = bytearray()
    for line in lines:
        chunk += json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
