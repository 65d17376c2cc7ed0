"""Requests again the steps of deletions and suspensions that the posts database may have lost.

The users database has the truth about both, and actors bring the posts database to it. If that database goes back in
time, it forgets steps whose messages are done: a user who is gone would keep posts and follows, a suspended one would
be shown. All steps may be repeated.
"""

import logging

from app.auth import generations
from app.db.engine import commit
from app.posts import suspensions
from app.users import outbox, store

REACH_SECONDS = 86_400  # erasures take minutes, and no replica that is promoted is a day behind

log = logging.getLogger(__name__)


def request_again() -> None:
    """Request the erasure of users deleted since REACH_SECONDS, and suspensions that the databases differ about."""
    gone = generations.gone_since(REACH_SECONDS)
    differing = store.select_suspended() ^ suspensions.all_ids()
    for user_id in gone:
        outbox.OUTBOX.add(outbox.USER_DELETED, user_id=user_id)
    for user_id in differing:
        outbox.OUTBOX.add(outbox.SUSPENSION_CHANGED, user_id=user_id)
    commit()
    if gone or differing:
        log.warning("requested again: %d deletions of accounts, %d suspensions", len(gone), len(differing))
