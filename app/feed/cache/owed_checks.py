"""Owed checks: notes that a write to feeds is still to be checked against SQL. Owns the keys:

    owed:{b}         sorted set   fields of notes, by the time of the write in ms (of Redis' own clock)
    owed:{b}:notes   hash         by field: a token, then `op post author keys…`; of a rebuild, post and author are 0
    owed:lock        string       one worker sweeps at a time

The script that writes leaves the note in the same step, in the slot of its feeds. So a write that takes effect late
(its worker was frozen, or the network held it back) is checked even if its worker has died. A claim of a rebuild leaves
one for the same reason (see claims.py). Fields repeat when a message does, so that retries do not pile up; the token
tells which write a note is of. No expiry: no memory policy evicts them.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from secrets import token_hex
from typing import Any, NamedTuple

from redis.exceptions import TryAgainError

from app.feed import lua
from app.feed.cache.timeline import BUCKETS, HOME, PUSH, REBUILD, REMOVE, named
from app.redis.client import client, is_cluster
from app.redis.scripts import Call, Command
from app.settings import settings

OVERDUE_MS = 5_000
BATCH = 100
LOCK_KEY = "owed:lock"


class Note(NamedTuple):
    """A check that is owed for a write to feeds. `owed` is the key that holds it."""

    owed: str
    field: str
    token: str


class Check(NamedTuple):
    """The content of a note."""

    note: Note
    op: str
    post_id: int
    author_id: int
    user_ids: list[int]


def push(
    user_ids: Sequence[int], post_id: int, author_id: int, question: Command | None = None
) -> tuple[list[Note], Any]:
    """Push a post into home feeds, like `Timelines.push`. Returns notes of the owed checks, and a reply.

    That is the reply to `question`, a command that is executed after the push (see `app.redis.scripts.run_and_ask`).
    """
    notes, calls = _writes(PUSH, user_ids, post_id, author_id, settings().feed_cap)
    if question is None:
        lua.run(PUSH, calls)
        return notes, None
    _, reply = lua.run_and_ask(PUSH, calls, question)
    return notes, reply


def remove(user_ids: Sequence[int], post_id: int, author_id: int) -> list[Note]:
    """Remove a post from home feeds, like `Timelines.remove`. Returns notes of the owed checks."""
    notes, calls = _writes(REMOVE, user_ids, post_id, author_id)
    lua.run(REMOVE, calls)
    return notes


def settle(notes: Iterable[Note]) -> None:
    """Delete the notes of checks that were made. A later write under the same field keeps its note."""
    fields: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        fields.setdefault((note.owed, note.token), []).append(note.field)
    lua.run("settle", [(_both(owed), [token, *theirs]) for (owed, token), theirs in fields.items()])


def note_of_rebuild(user_id: int, token: str) -> tuple[Note, str]:
    """Return the note that the rebuild of a feed is owed, and its text."""
    key = HOME.key(user_id)
    return Note(_owed_key_of(key), f"{REBUILD}:{user_id}", token), f"{token} {REBUILD} 0 0 {key}"


def overdue() -> Iterator[Check]:
    """Yield the checks owed for OVERDUE_MS or more, at most BATCH of each key. Leaves out slots that are moving."""
    keys = [_owed_key(bucket) for bucket in range(BUCKETS)] if is_cluster() else [_owed_key(0)]
    calls: list[Call] = [(_both(key), [OVERDUE_MS, BATCH]) for key in keys]
    for key, found in zip(keys, lua.run("overdue", calls, tolerated=(TryAgainError,)), strict=True):
        if found is None:  # its slot is moving: the next sweep
            continue
        for field, text in zip(found[::2], found[1::2], strict=True):
            token, op, post_id, author_id, *feeds = text.decode().split(" ")
            user_ids = [int(feed.rpartition(":")[2]) for feed in feeds]
            yield Check(Note(key, field.decode(), token), op, int(post_id), int(author_id), user_ids)


def lock_sweep(seconds: float) -> bool:
    """Return whether this process is the one to sweep in the next `seconds`."""
    return bool(client().set(LOCK_KEY, 1, nx=True, px=int(seconds * 1000)))


def count() -> int:
    """Count the checks that are owed."""
    with client().pipeline(transaction=False) as pipe:
        for bucket in range(BUCKETS if is_cluster() else 1):
            pipe.zcard(_owed_key(bucket))
        return sum(pipe.execute())


def _writes(
    op: str, user_ids: Sequence[int], post_id: int, author_id: int, *more: int
) -> tuple[list[Note], list[Call]]:
    """Return the notes and calls of an operation, one for each group of feeds."""
    token = token_hex(8)
    notes: list[Note] = []
    calls: list[Call] = []
    for keys in HOME.key_batches(user_ids):
        feeds = " ".join(keys)
        field = f"{op}:{post_id}:{blake2b(feeds.encode(), digest_size=12).hexdigest()}"
        owed = _owed_key_of(keys[0])
        notes.append(Note(owed, field, token))
        note = [owed, field, f"{token} {op} {post_id} {author_id} {feeds}"]
        calls.append((named(keys, *_both(owed)), [*note, len(keys), post_id, *more]))
    return notes, calls


def _owed_key_of(feed: str) -> str:
    return _owed_key(HOME.bucket(feed) if is_cluster() else 0)


def _both(owed: str) -> list[str]:
    return [owed, f"{owed}:notes"]


def _owed_key(bucket: int) -> str:
    return f"owed:{{{bucket}}}"
