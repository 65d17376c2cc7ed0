"""Claims: of many messages that request the rebuild of one feed, one does it. Its key is in the slot of the feed:

    claim:{b}:<user>   hash   `message`: the id of the one that will rebuild the feed, until it begins; `begun` and
                              `next` space out rebuilds that follow each other; for CLAIM_MS after the last

A message is sent after its change was committed. While another message holds the claim this one has nothing to do: the
other has not begun to read SQL, and the broker delivers it until it has rebuilt the feed, or `give_up` drops both feed
and claim. A claim that is lost costs a rebuild. CLAIM_MS bounds the harm of one whose message the broker has lost.
"""

from secrets import token_hex

from app.feed import lua
from app.feed.cache.timeline import HOME, Lease

CLAIM_MS = 10_000
UNPAUSED = 4  # rebuilds without a pause, so that a few follows in a row take effect at once
PAUSE_MS, MAX_PAUSE_MS = 50, 1000


def claim(user_id: int, message_id: str) -> Lease | int:
    """Start to rebuild a feed for a message.

    Returns 0 where another message will rebuild it, else in how many ms to claim again.
    """
    keys = [HOME.key(user_id), HOME.lease_key(user_id), HOME.claim_key(user_id)]
    arguments = [message_id, token_hex(8), HOME.lease_ms, CLAIM_MS, UNPAUSED, PAUSE_MS, MAX_PAUSE_MS]
    [found] = lua.run("claim", [(keys, arguments)])
    return found if isinstance(found, int) else Lease(*found)
