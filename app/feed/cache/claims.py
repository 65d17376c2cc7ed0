"""Claims: of many messages that request the rebuild of one feed, one does it. Its key is in the slot of the feed:

    claim:{b}:<user>   hash   `message`: the id of the one that will rebuild the feed, until it begins; `begun` and
                              `next` space out rebuilds that follow each other; for CLAIM_MS after the last

A message is sent after its change was committed. While another message holds the claim this one has nothing to do: the
other has not begun to read SQL, and the broker delivers it until it has rebuilt the feed, or `give_up` drops both feed
and claim. A claim that is lost costs a rebuild.

A claim may outlive its message: the network held it back, or a frozen worker made it, and another worker has handled
the message in the meantime. So a claim leaves a note that a rebuild is owed (see owed_checks.py). The rebuild deletes
it after its commit, or when it fails and its message is retried, unless a later claim has replaced it. A note that is
left is swept once no such rebuild runs: the feed is rebuilt once more.
"""

from collections.abc import Sequence
from secrets import token_hex
from typing import cast

from app.feed import lua
from app.feed.cache import owed_checks
from app.feed.cache.timeline import HOME, Lease
from app.redis.client import client

CLAIM_MS = 10_000
UNPAUSED = 4  # rebuilds without a pause, so that a few follows in a row take effect at once
PAUSE_MS, MAX_PAUSE_MS = 50, 1000


def claim(user_id: int, message_id: str) -> Lease | int:
    """Start to rebuild a feed for a message.

    Returns 0 where another message will rebuild it, else in how many ms to claim again.
    """
    note, text = owed_checks.note_of_rebuild(user_id, token_hex(8))
    keys = [HOME.key(user_id), HOME.lease_key(user_id), HOME.claim_key(user_id), note.owed, note.owed + ":notes"]
    pace = [UNPAUSED, PAUSE_MS, MAX_PAUSE_MS]
    arguments = [message_id, note.token, HOME.lease_ms, CLAIM_MS, *pace, note.field, text]
    [found] = lua.run("claim", [(keys, arguments)])
    return found if isinstance(found, int) else Lease(*found)


def settle(user_id: int, lease: Lease) -> None:
    """Delete the note of a claim whose rebuild has ended. That of a later claim stays."""
    token = lease.token.decode().rpartition("/")[2].partition(":")[0]
    owed_checks.settle([owed_checks.note_of_rebuild(user_id, token)[0]])


def is_running(user_id: int, token: str) -> bool:
    """Return whether the rebuild that began with a claim's token may still commit."""
    return f"/{token}:".encode() in cast(bytes, client().get(HOME.lease_key(user_id)) or b"")


def drop(user_ids: Sequence[int]) -> None:
    """Drop the claims of these feeds: no message relies on one that was made before."""
    client().delete(*map(HOME.claim_key, user_ids))
