"""Takes posts of suspended users out of feeds, and brings those of restored ones back.

| step | in one transaction | then |
|---|---|---|
| converge | the row of `suspended_users` becomes what the users database says | event `visibility_changed` |
| evict_followers, in batches | reads the next followers | their feeds are evicted |

Each step may run late, twice, or be killed. A rebuild that has read SQL before the first step loses its lease to the
eviction, and one that begins after the eviction reads SQL after the first step. A follow that is missing in a batch
commits after the step too, and has a rebuild to itself.
"""

from app.db.engine import commit
from app.feed.cache import timeline
from app.feed.live import log
from app.posts import follows, outbox, suspensions
from app.users import accounts

BATCH = 1000  # followers per message


def converge(user_id: int) -> bool:
    """Bring the posts database to what the users database says. Returns False while another process does.

    The lock comes before the question, so the last to answer has the last answer. Of a user who is gone nothing
    changes: the posts stay hidden until the erasure has taken them.
    """
    if not suspensions.lock(user_id):
        return False
    is_suspended = accounts.is_suspended(user_id)
    if is_suspended is not None:
        (suspensions.insert if is_suspended else suspensions.delete)(user_id)
        outbox.add(outbox.VISIBILITY_CHANGED, author_id=user_id, after=0)  # without a change too: a message may be lost
    commit()
    return True


def evict_followers(author_id: int, after: int) -> int | None:
    """Evict the feeds of the next followers. Returns where the next step begins; None at the end."""
    followers = follows.followers(author_id, after, BATCH)
    commit()
    if followers:
        timeline.HOME.evict(followers)
        log.append(log.CHANGED, reader_ids=followers)
    return followers[-1] if len(followers) == BATCH else None
