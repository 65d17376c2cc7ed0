"""Requests again the steps of deletions and suspensions that the posts database may have lost.

The users database has the truth about both, and actors bring the posts database to it. If that database goes back in
time, it forgets steps whose messages are done: a user who is gone would keep posts and follows, a suspended one would
be shown. A step may be repeated.
"""

import logging

from app.auth import generations
from app.db.engine import commit
from app.posts import gone, suspensions
from app.users import outbox, store

log = logging.getLogger(__name__)


def request_again() -> None:
    """Request erasures that have left something, and suspensions that the databases differ about."""
    unfinished = gone.left_among(generations.gone())
    differing = store.select_suspended() ^ suspensions.all_ids()
    for user_id in unfinished:
        outbox.OUTBOX.add(outbox.USER_DELETED, user_id=user_id)
    for user_id in differing:
        outbox.OUTBOX.add(outbox.SUSPENSION_CHANGED, user_id=user_id)
    commit()
    if unfinished or differing:
        log.warning("requested again: %d deletions of accounts, %d suspensions", len(unfinished), len(differing))
