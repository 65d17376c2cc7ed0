"""Lists of what one author wrote: of those who are pulled, for their followers' pages. The one owner of the keys:

    authored:{b}:<author>         list    as a feed's (see timeline.py), of this author's posts alone
    authored:{b}:<author>:lease   string  token of the rebuild under way, for LEASE_MS

Whatever holds for a feed holds here, by the same scripts.
"""

from collections.abc import Sequence
from secrets import token_hex

from app.feed import replica, scripts, truth
from app.feed.timeline import BUCKETS, as_json
from app.redis import client
from app.settings import settings

ATTEMPTS = 5
LEASE_MS = 5_000  # all followers wait for whoever builds the list: not for long, if that one died


def push(author_id: int, post_id: int) -> None:
    """Put a post in its place, once; a cold list stays cold."""
    scripts.run("push", [([key(author_id)], [post_id, settings().feed_cap])])


def remove(author_ids: Sequence[int], post_ids: Sequence[int]) -> None:
    """Take posts out of the lists of these authors."""
    if post_ids:
        scripts.run("remove", [([key(author_id)], list(post_ids)) for author_id in author_ids])


def rebuild(author_id: int, *, attempts: int = ATTEMPTS, wait: bool = False) -> bool:
    """Make an author's list anew from SQL, as `service.rebuild` makes a feed."""
    keys, cap, ttl = [key(author_id), key(author_id) + ":lease"], settings().feed_cap, settings().feed_ttl
    for _ in range(attempts):
        token = token_hex(8)
        [ends] = scripts.run("begin", [(keys, [token, LEASE_MS, "wait" if wait else "take"])])
        if ends is None:
            return False
        ids = as_json(replica.at_least_now(truth.newest_ids_by, author_id, cap))
        if scripts.run("commit", [(keys, [token, ends[0], cap, ttl, ids, ""])])[0]:
            return True
    return False


def make_cold(author_ids: Sequence[int]) -> None:
    """Forget these lists, and what rebuilds under way would make of them."""
    with client().pipeline(transaction=False) as pipe:
        for author_id in author_ids:
            pipe.delete(key(author_id), key(author_id) + ":lease")
        pipe.execute()


def key(author_id: int) -> str:
    return f"authored:{{{author_id % BUCKETS}}}:{author_id}"
