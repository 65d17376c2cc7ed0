"""Requests again the steps of deletions and suspensions that the posts database may have lost.

The users database has the truth about both, and actors bring the posts database to it. If that database goes back in
time, it forgets steps whose messages are done: a user who is gone would keep posts and follows, a suspended one would
be shown. A step may be repeated.
"""

import logging

from sqlalchemy.exc import SQLAlchemyError

from app.auth import generations
from app.db.engine import commit, db, is_unavailable
from app.observability.logging import one_line
from app.posts import gone, suspensions
from app.users import store
from app.users.outbox import OUTBOX, SUSPENSION_CHANGED, USER_DELETED

log = logging.getLogger(__name__)


def request_again() -> bool:
    """Request erasures that have left something, and suspensions that the databases differ about.

    Returns False if a database is unavailable.
    """
    try:
        unfinished = gone.left_among(generations.gone())
        differing = store.select_suspended() ^ suspensions.all_ids()
        for event, user_ids in ((USER_DELETED, unfinished), (SUSPENSION_CHANGED, differing)):
            OUTBOX.add_all(event, [({"user_id": user_id}, None) for user_id in user_ids])
        commit()
    except SQLAlchemyError as error:
        if not is_unavailable(error):
            raise
        db.session.rollback()
        log.warning("deletions and suspensions that SQL may have lost are requested later: %s", one_line(error))
        return False
    if unfinished or differing:
        log.warning("requested again: %d deletions of accounts, %d suspensions", len(unfinished), len(differing))
    return True
