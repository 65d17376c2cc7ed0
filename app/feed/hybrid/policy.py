"""Decides which authors are pulled: merged into pages at read time, not fanned out (docs/celebrities.md).

An author's state is in SQL, in the table `pulled_authors`:

| state     | new posts go to                        | left when                              | next      |
|---|---|---|---|
| pushed    | the followers' feeds (no row)          | more than FEED_PULL_FOLLOWERS          | promoting |
| promoting | the followers' feeds and the own list  | the followers' feeds are rebuilt       | pulled    |
| pulled    | the own list                           | fewer than 80 % of FEED_PULL_FOLLOWERS | demoting  |
| demoting  | the followers' feeds and the own list  | the followers' feeds are rebuilt       | pushed    |

A transition (promoting, demoting) has an id. It starts in one transaction with its event, rebuilds the followers' feeds
in batches, and is completed only if it is still the current one.
"""

from typing import Any

from sqlalchemy import Row, TextClause, text

from app.db.engine import POSTS, commit, execute
from app.feed.cache import timeline
from app.feed.maintenance import warm
from app.posts import follows, models, outbox
from app.settings import settings

PUSHED, PROMOTING, PULLED, DEMOTING = None, models.PROMOTING, models.PULLED, models.DEMOTING
NEXT = {PUSHED: PROMOTING, PROMOTING: PULLED, PULLED: DEMOTING, DEMOTING: PUSHED}

BATCH = 1000  # followers per step of a transition
STALLED_AFTER = "1 hour"  # then a transition is restarted, as its message may be lost


def _current(condition: str = "true") -> str:
    """Select the author if the transition is current. SKIP LOCKED: the holder of the row completes it or retries."""
    return f"""(SELECT author_id FROM pulled_authors
        WHERE author_id = :author_id AND turn = :transition_id AND state = :state AND {condition}
        FOR UPDATE SKIP LOCKED)"""


# The column `turn` is the transition's id. It is random: a sequence would give it again after a restore, and a message
# from before the restore would be taken for one of the new transition.
_PROMOTE = text("""
    INSERT INTO pulled_authors (author_id, state) SELECT :author_id, :next WHERE pg_try_advisory_xact_lock(:author_id)
        AND hold_user(:author_id) ON CONFLICT DO NOTHING RETURNING turn
""")
_DEMOTE = text(f"""
    UPDATE pulled_authors SET state = :next, turn = DEFAULT, changed_at = now()
    WHERE author_id = {_current()} RETURNING turn
""")
_HEARTBEAT = text(f"UPDATE pulled_authors SET changed_at = now() WHERE author_id = {_current()} RETURNING turn")
_RESTART_STALLED = text(f"""
    UPDATE pulled_authors SET changed_at = now()
    WHERE author_id = {_current(f"changed_at < now() - interval '{STALLED_AFTER}'")} RETURNING turn
""")
_END_PROMOTION = text(f"""
    UPDATE pulled_authors SET state = :next, changed_at = now() WHERE author_id = {_current()} RETURNING turn
""")
_END_DEMOTION = text(f"DELETE FROM pulled_authors WHERE author_id = {_current()} RETURNING turn")


def state_of(author_id: int) -> str | None:
    """Return the state of an author. None if pushed."""
    row = _row(author_id)
    return row.state if row else PUSHED


def add_to_author_timeline(post_id: int, author_id: int, state: str | None) -> bool:
    """Add a new post to its author's own list, unless pushed. Returns whether to fan it out, too."""
    if state is not PUSHED:
        timeline.AUTHOR.push([author_id], post_id)
    return state != PULLED


def update_pull_state(author_id: int) -> None:
    """Start a transition if the author crosses FEED_PULL_FOLLOWERS (up) or 80 % of it (down)."""
    row, started = _row(author_id), None
    if row is None:
        if _has_many(author_id):
            started = execute(POSTS, _PROMOTE, {"author_id": author_id, "next": NEXT[PUSHED]}).scalar_one_or_none()
    elif row.state != PULLED:
        started = _apply(_RESTART_STALLED, author_id, row)
    elif _has_few(author_id):
        started = _apply(_DEMOTE, author_id, row)
    if started is not None:
        outbox.add(outbox.PULL_TRANSITION_STARTED, author_id=author_id, transition_id=started, after=0)
    commit()


def run_transition_step(author_id: int, transition_id: int, after: int) -> int | None:
    """Rebuild the next followers' feeds. Returns where the next step begins; None at the end.

    A step may run late or twice: feeds are rebuilt from current SQL, and only the current transition is completed.
    """
    row = _row(author_id)
    if row is None or row.transition_id != transition_id or row.state == PULLED:
        return None
    if after == 0 and row.state == PROMOTING:
        timeline.AUTHOR.evict([author_id])  # it lacks posts from before the transition
    _apply(_HEARTBEAT, author_id, row)  # so that the transition is not considered stalled
    commit()
    followers = follows.followers(author_id, after, BATCH)
    if followers:
        warm.rebuild_warm(followers)
    if len(followers) == BATCH:
        return followers[-1]
    ended = _apply(_END_PROMOTION if row.state == PROMOTING else _END_DEMOTION, author_id, row)
    commit()
    if ended is not None and NEXT[row.state] is PUSHED:
        timeline.AUTHOR.evict([author_id])
    return None


def _row(author_id: int) -> Row[Any] | None:
    query = text("SELECT state, turn AS transition_id FROM pulled_authors WHERE author_id = :author_id")
    return execute(POSTS, query, {"author_id": author_id}).one_or_none()


def _apply(statement: TextClause, author_id: int, row: Row[Any]) -> int | None:
    """Change the row of a transition if it is still current. Returns the transition's id, None if not changed."""
    parameters = {"author_id": author_id, "next": NEXT[row.state], **row._mapping}
    return execute(POSTS, statement, parameters).scalar_one_or_none()


def _has_many(author_id: int) -> bool:
    threshold = settings().feed_pull_followers
    return threshold > 0 and follows.has_more_followers_than(author_id, threshold)


def _has_few(author_id: int) -> bool:
    """Return whether to demote an author. Always if pulling is disabled."""
    threshold = settings().feed_pull_followers
    enough = -(-threshold * 4 // 5)
    return threshold == 0 or not follows.has_more_followers_than(author_id, enough - 1)
