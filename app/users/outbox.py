"""The outbox of the users database. Its events are handled by the actors of the same names."""

from app.db.engine import USERS
from app.db.outbox import Outbox
from app.db.wakeup import Wakeup

TOKENS_REVOKED = "tokens_revoked"
USER_DELETED = "user_deleted"
SUSPENSION_CHANGED = "suspension_changed"

OUTBOX = Outbox(USERS, (TOKENS_REVOKED, USER_DELETED, SUSPENSION_CHANGED), Wakeup(USERS))
