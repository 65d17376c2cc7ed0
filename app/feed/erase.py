"""Takes away all that is left of a user who is gone: posts, follows, and what Redis holds.

| step | in one transaction | then |
|---|---|---|
| begin | the tombstone, the pull state, the read mark, the newest posts | event `posts_erased` |
| erase_from_followers, in batches | reads the next followers | one script takes the posts out of their feeds |
| take_next_posts | the next posts | event `posts_erased`, or else the follows |
| take_follows, in batches | follows and blocks both ways, then a suspension | the user's feed is evicted |
| forget | | keys of Redis, and once more half a minute later |

Posts go before follows, so the followers whose feeds may hold one are still known; afterwards a follow changes no feed.
Each step may run late, twice, or be killed. The ids of the posts are in its message, as SQL has them no more.
"""

from app.auth import generations
from app.db.engine import commit
from app.feed.cache import post_bodies, timeline
from app.feed.live import log
from app.posts import follows, gone, outbox, suspensions
from app.users import cached_names, known_addresses

POSTS_BATCH = 1000  # ids in a message, and in a transaction
BATCH = 1000  # followers per message, and follows in a transaction


def begin(user_id: int) -> bool:
    """Keep writes from adding anything, and take the first posts. Returns False while a write is under way."""
    if not gone.bury(user_id):
        return False
    gone.take_pull_state(user_id)
    gone.take_seen(user_id)
    _add_event(user_id, _take_posts(user_id))  # of no posts, too: marks of feeds may name the author
    commit()
    return True


def erase_from_followers(author_id: int, post_ids: list[int], after: int) -> int | None:
    """Erase posts from the feeds of the next followers. Returns where the next step begins; None at the end."""
    followers = follows.followers(author_id, after, BATCH)
    commit()
    if followers:
        timeline.HOME.erase(followers, author_id, post_ids)
        log.append(log.CHANGED, reader_ids=followers)
    return followers[-1] if len(followers) == BATCH else None


def take_next_posts(author_id: int, post_ids: list[int]) -> bool:
    """Take the next posts, now that these are in no feed. Returns whether there were any."""
    timeline.AUTHOR.evict([author_id])
    post_bodies.drop_many(post_ids)
    gone.forget_deleted_posts(post_ids)
    more = _take_posts(author_id)
    if more:
        _add_event(author_id, more)
    commit()
    return bool(more)


def take_follows(user_id: int) -> None:
    """Take follows and blocks both ways, each batch in a transaction. They change no feed but the user's own."""
    for relation in gone.RELATIONS:
        while gone.take_relations(*relation, user_id, BATCH):
            commit()
    gone.take_counts(user_id)
    suspensions.delete(user_id)  # the last, so that no post comes back
    commit()
    forget(user_id)


def forget(user_id: int) -> None:
    """Delete what Redis holds of a user."""
    timeline.HOME.evict([user_id])
    timeline.AUTHOR.evict([user_id])
    cached_names.drop(user_id)
    known_addresses.forget(user_id)


def forget_tombstones() -> int:
    """Delete the ids of users who are gone once no token of theirs is left. Returns how many."""
    forgotten = generations.forget_old() + gone.forget_old(generations.kept_seconds())
    commit()
    return forgotten


def _take_posts(author_id: int) -> list[int]:
    """Delete posts. Returns some that are deleted and may be in feeds, none only if there are no others.

    Among them are posts that the author has deleted: their fan-outs may find no followers now. A message that comes
    twice takes the same ones, so follows go only when all posts have left the feeds.
    """
    gone.take_posts(author_id, POSTS_BATCH)
    return gone.deleted_posts(author_id, POSTS_BATCH)


def _add_event(author_id: int, post_ids: list[int]) -> None:
    outbox.add(outbox.POSTS_ERASED, author_id=author_id, post_ids=post_ids, after=0)
