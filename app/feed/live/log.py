"""The log of live events: what changed in feeds, in order. Owns the keys:

    {live}:log         stream   entries: op, post, author, readers (ids of 8 bytes each; none: the author's followers).
                                At most about MAX_BYTES. Without expiry, so that no `volatile-` memory policy evicts it
    {live}:listening   string   token of the log, for LISTEN_SECONDS after the last process listened. Without it nothing
                                is written, and the next log has another token: what was missed is unknown

A writer appends after its write to Redis, so that a page that is read after an entry contains the change.
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import Any, NamedTuple, cast

from app.feed import lua
from app.redis.client import client, execute

LOG_KEY = "{live}:log"
LISTENING_KEY = "{live}:listening"
LISTEN_SECONDS = 120
MAX_BYTES = 16 * 2**20

IS_KEPT = "EXISTS", LISTENING_KEY, LOG_KEY  # the question whether the log is kept; to be asked after a write

POSTED, EDITED, DELETED, CHANGED, BEGUN = "posted", "edited", "deleted", "changed", "begun"


class Place(NamedTuple):
    """A place in a log: the token of the log, and the id of the last entry that was seen."""

    token: str
    entry_id: str

    def __str__(self) -> str:
        return f"{self.token}-{self.entry_id}"


class Entry(NamedTuple):
    """`reader_ids` is empty where the author's followers are meant."""

    id: str
    op: str
    post_id: int
    author_id: int
    reader_ids: Sequence[int]


def parse_place(text: str) -> Place:
    """Parse a place as `str` writes it. Raises ValueError."""
    match = re.fullmatch("([0-9a-f]{8})-([0-9]{1,15}-[0-9]{1,15})", text)
    if match is None:
        raise ValueError("Must be the id of an event.")
    return Place(match[1], match[2])


def order(entry_id: str) -> tuple[int, ...]:
    """Return the sort key of an entry's id."""
    return tuple(map(int, entry_id.split("-")))


def append(
    op: str, *, post_id: int = 0, author_id: int = 0, reader_ids: Iterable[int] = (), is_kept: int | None = None
) -> None:
    """Append an entry for these readers, or else for the author's followers.

    Does nothing unless a process listens. One that begins after the question needs no entry: the write came before.
    `is_kept` is the reply to IS_KEPT, if the writer has asked already.
    """
    if not (execute(*IS_KEPT) if is_kept is None else is_kept):
        return
    readers = array("q", reader_ids).tobytes()
    lua.run("append", [([LOG_KEY, LISTENING_KEY], [MAX_BYTES, op, post_id, author_id, readers])])


def listen() -> Place:
    """Keep the log for the next LISTEN_SECONDS. Returns its end."""
    [(token, last)] = lua.run("listen", [([LOG_KEY, LISTENING_KEY], [token_hex(4), LISTEN_SECONDS])])
    return Place(token.decode(), last.decode())


def end() -> None:
    """End the log, so that all clients read their pages again."""
    client().delete(LISTENING_KEY)


def wait(place: Place, milliseconds: int, count: int) -> list[Entry]:
    """Wait for entries after a place, and read at most `count`."""
    found = cast(Any, client().xread({LOG_KEY: place.entry_id}, count=count, block=milliseconds))
    return _entries(found[0][1]) if found else []


def read(place: Place, count: int) -> list[Entry] | None:
    """Read at most `count` entries after a place. None if it is in the log no longer."""
    entries = _entries(cast(Any, client().xrange(LOG_KEY, min=place.entry_id, count=count + 1)))
    return entries[1:] if entries and entries[0].id == place.entry_id else None


def _entries(found: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    return [
        Entry(
            entry_id.decode(),
            fields[b"op"].decode(),
            int(fields[b"post"]),
            int(fields[b"author"]),
            array("q", fields[b"readers"]),
        )
        for entry_id, fields in found
    ]
