"""Authors who are pulled: their posts are not fanned out, but merged into each reader's page (docs/celebrities.md).

Which authors these are stands in SQL, in the table `pulled_authors`:

    no row      pushed: a new post goes into the feeds of all followers
    promoting   pushed, and into the author's own list too, while the followers' feeds learn to look there
    pulled      into the author's own list alone
    demoting    as promoting, while the followers' feeds learn to do without

Each change of direction is a turn with a number of its own. It begins in one transaction with its event, goes through
the followers batch by batch, and ends only while it is still the same turn.
"""

from typing import Any

from sqlalchemy import Row, text

from app.db import POSTS, commit, run
from app.feed import authored, follows, warming
from app.posts import outbox
from app.settings import settings

PROMOTING, PULLED, DEMOTING = "promoting", "pulled", "demoting"
BATCH = 1000  # followers whose feeds are built in one step of a turn
LOST_AFTER = "1 hour"  # a turn that has not ended by then is begun again: its message may have been lost


def state_of(author_id: int) -> str | None:
    """None for an author who is pushed."""
    row = _row(author_id)
    return row.state if row else None


def put(post_id: int, author_id: int, state: str | None) -> bool:
    """Put a new post into its author's own list, if readers look there. Returns whether it is to be fanned out, too."""
    if state is not None:
        authored.push(author_id, post_id)
    return state != PULLED


def weigh(author_id: int) -> None:
    """Begin a turn if this author has got more than FEED_PULL_FOLLOWERS followers, or again fewer than 80 % of that."""
    row, turn = _row(author_id), None
    if row is None:
        if _has_many(author_id):
            turn = _promote(author_id)
    elif row.state != PULLED:
        turn = _find_lost(author_id, row.turn)
    elif _has_few(author_id):
        turn = _demote(author_id, row.turn)
    if turn is not None:
        outbox.put(outbox.TURN_BEGUN, author_id=author_id, turn=turn, after=0)
    commit()


def advance(author_id: int, turn: int, after: int) -> int | None:
    """A step of a turn: the next followers' feeds are built anew. Returns where the next step begins; None at the end.

    Any step may come late, or twice: it builds what SQL says now, and only the present turn ends.
    """
    row = _row(author_id)
    if row is None or row.turn != turn or row.state == PULLED:
        return None
    if after == 0 and row.state == PROMOTING:
        authored.make_cold([author_id])  # it lacks what was written while nobody looked there
    _touch(author_id, turn)
    followers = follows.followers(author_id, after, BATCH)
    if followers:
        warming.renew(followers)
    if len(followers) == BATCH:
        return followers[-1]
    _end(author_id, turn)
    return None


def _row(author_id: int) -> Row[Any] | None:
    query = text("SELECT state, turn FROM pulled_authors WHERE author_id = :author_id")
    return run(POSTS, query, {"author_id": author_id}).one_or_none()


def _has_many(author_id: int) -> bool:
    threshold = settings().feed_pull_followers
    return threshold > 0 and follows.has_more_followers_than(author_id, threshold)


def _has_few(author_id: int) -> bool:
    """Everybody has while pulling is off."""
    threshold = settings().feed_pull_followers
    enough = -(-threshold * 4 // 5)
    return threshold == 0 or not follows.has_more_followers_than(author_id, enough - 1)


# Nobody waits for a row that somebody else is changing: whoever it is does what is to be done, or has it done again.
_FREE = "SELECT author_id FROM pulled_authors WHERE author_id = :author_id AND turn = :turn"


def _promote(author_id: int) -> int | None:
    """The number of the new turn; None if somebody else has just begun one."""
    insert = text("""
        INSERT INTO pulled_authors (author_id, state)
        SELECT :author_id, 'promoting' WHERE pg_try_advisory_xact_lock(:author_id)
        ON CONFLICT DO NOTHING RETURNING turn
    """)
    return run(POSTS, insert, {"author_id": author_id}).scalar_one_or_none()


def _demote(author_id: int, turn: int) -> int | None:
    """As `_promote`."""
    update = text(f"""
        UPDATE pulled_authors SET state = 'demoting', turn = DEFAULT, changed_at = now()
        WHERE author_id = ({_FREE} AND state = 'pulled' FOR UPDATE SKIP LOCKED) RETURNING turn
    """)
    return run(POSTS, update, {"author_id": author_id, "turn": turn}).scalar_one_or_none()


def _find_lost(author_id: int, turn: int) -> int | None:
    """The number of this turn if it should have ended long ago."""
    update = text(f"""
        UPDATE pulled_authors SET changed_at = now()
        WHERE author_id = ({_FREE} AND changed_at < now() - interval '{LOST_AFTER}' FOR UPDATE SKIP LOCKED)
        RETURNING turn
    """)
    return run(POSTS, update, {"author_id": author_id, "turn": turn}).scalar_one_or_none()


def _touch(author_id: int, turn: int) -> None:
    """A turn that goes on is not lost."""
    update = text(f"UPDATE pulled_authors SET changed_at = now() WHERE author_id = ({_FREE} FOR UPDATE SKIP LOCKED)")
    run(POSTS, update, {"author_id": author_id, "turn": turn})
    commit()


def _end(author_id: int, turn: int) -> None:
    """From promoting to pulled, from demoting to no row: if it is still this turn."""
    parameters = {"author_id": author_id, "turn": turn}
    promoted = text(f"""
        UPDATE pulled_authors SET state = 'pulled', changed_at = now()
        WHERE author_id = ({_FREE} AND state = 'promoting' FOR UPDATE SKIP LOCKED)
    """)
    demoted = text(f"""
        DELETE FROM pulled_authors WHERE author_id = ({_FREE} AND state = 'demoting' FOR UPDATE SKIP LOCKED)
    """)
    run(POSTS, promoted, parameters)
    is_pushed = run(POSTS, demoted, parameters).rowcount > 0
    commit()
    if is_pushed:
        authored.make_cold([author_id])
